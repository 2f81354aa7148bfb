//! The broker's side of a component's socket, on real sockets: tonic for the worker's
//! attachment, plain bytes for the spares.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rumi_proto::v1::{
    Configure, MakeSpare, WorkerCommand, WorkerEvent, worker_command,
    worker_event::Event,
    worker_server::{Worker, WorkerServer},
};
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Runtime,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

pub(crate) const COMPONENT: &str = "default:tool:probe";
const PATIENCE: Duration = Duration::from_secs(30);

/// One attached worker.
pub(crate) struct Attachment {
    commands: mpsc::Sender<Result<WorkerCommand, Status>>,
    events: Streaming<WorkerEvent>,
}

impl Attachment {
    pub(crate) async fn send(&self, command: worker_command::Command) {
        let command = WorkerCommand {
            command: Some(command),
        };
        self.commands.send(Ok(command)).await.unwrap();
    }

    pub(crate) async fn configure(&self, interpreter: &str) {
        self.configure_as(COMPONENT, interpreter).await;
    }

    pub(crate) async fn configure_as(&self, component: &str, interpreter: &str) {
        self.send(worker_command::Command::Configure(Configure {
            component_id: component.to_owned(),
            runner: "python".to_owned(),
            interpreter: interpreter.to_owned(),
            entry: "/opt/pack/tool.py".to_owned(),
            ..Configure::default()
        }))
        .await;
    }

    pub(crate) async fn make_spare(&self) {
        self.send(worker_command::Command::MakeSpare(MakeSpare {}))
            .await;
    }

    /// The next event; `None` when the worker is gone.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        timeout(PATIENCE, self.events.message())
            .await
            .expect("no event came")
            .ok()
            .flatten()
            .and_then(|event| event.event)
    }
}

struct Service(mpsc::Sender<Attachment>);

#[tonic::async_trait]
impl Worker for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<WorkerCommand, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<WorkerEvent>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (commands, receiver) = mpsc::channel(64);
        let attachment = Attachment {
            commands,
            events: request.into_inner(),
        };
        self.0
            .send(attachment)
            .await
            .map_err(|_| Status::unavailable("gone"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A running broker; dropping it closes everything it has, as a kill would.
pub(crate) struct Broker {
    attachments: mpsc::Receiver<Attachment>,
    spares: mpsc::Receiver<UnixStream>,
    proxied: mpsc::Receiver<UnixStream>,
    /// Its own, so that it can end with all its connections, as a killed broker does.
    runtime: Option<Runtime>,
}

impl Broker {
    pub(crate) fn start(socket: &Path) -> Self {
        if socket.exists() {
            std::fs::remove_file(socket).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let listener = UnixListener::bind(socket).unwrap();
        let (attached, attachments) = mpsc::channel(8);
        let (spare, spares) = mpsc::channel(8);
        let (proxy, proxied) = mpsc::channel(8);
        let (streams, incoming) = mpsc::channel::<std::io::Result<UnixStream>>(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sent = match first_bytes(&stream).await {
                    Some(first) if &first == b"POST" => spare.send(stream).await.is_ok(),
                    Some(first) if &first == b"CONN" => proxy.send(stream).await.is_ok(),
                    Some(_) => streams.send(Ok(stream)).await.is_ok(),
                    None => true,
                };
                if !sent {
                    return; // The test is over.
                }
            }
        });
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(WorkerServer::new(Service(attached)))
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
                .unwrap();
        });
        drop(entered);
        Self {
            attachments,
            spares,
            proxied,
            runtime: Some(runtime),
        }
    }

    /// A worker that has said hello.
    pub(crate) async fn attached(&mut self) -> Attachment {
        let mut attachment = timeout(PATIENCE, self.attachments.recv())
            .await
            .expect("no worker attached")
            .unwrap();
        let hello = attachment.event().await;
        assert!(matches!(hello, Some(Event::Hello(_))), "{hello:?}");
        attachment
    }

    /// A connection that asks for a tunnel, from its first byte on.
    pub(crate) async fn proxied(&mut self) -> std::os::unix::net::UnixStream {
        let stream = timeout(PATIENCE, self.proxied.recv())
            .await
            .expect("no tunnel was asked for")
            .unwrap();
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) async fn spare(&mut self) -> Spare {
        let stream = timeout(PATIENCE, self.spares.recv())
            .await
            .expect("no spare came")
            .unwrap();
        let pid = stream.peer_cred().unwrap().pid().unwrap();
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut spare = Spare { stream, pid };
        spare.upgrade();
        spare
    }
}

/// Nothing is taken from the stream, so either server finds it whole.
async fn first_bytes(stream: &UnixStream) -> Option<[u8; 4]> {
    let mut first = [0; 4];
    loop {
        stream.readable().await.ok()?;
        let peeked = stream.try_io(tokio::io::Interest::READABLE, || {
            Ok(rustix::net::recv(
                stream,
                &mut first[..],
                rustix::net::RecvFlags::PEEK,
            )?)
        });
        match peeked {
            Ok(_) => return Some(first),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The broker's end of a spare's connection.
pub(crate) struct Spare {
    stream: std::os::unix::net::UnixStream,
    pub(crate) pid: i32,
}

impl Spare {
    fn upgrade(&mut self) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        assert!(request.starts_with(b"POST /rumi.v1.Worker/Spare HTTP/1.1\r\n"));
        self.stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: rumi-spare\r\n\r\n")
            .unwrap();
    }

    pub(crate) fn exchange(&mut self, frame: &serde_json::Value) -> serde_json::Value {
        let text = frame.to_string();
        self.stream
            .write_all(&u32::try_from(text.len()).unwrap().to_be_bytes())
            .unwrap();
        self.stream.write_all(text.as_bytes()).unwrap();
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Whether it ends the connection, as one does that is no use any more.
    pub(crate) fn ends(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            // It had not read all that it was sent.
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Prepares for `entry` and makes the one call.
    pub(crate) fn call(mut self, entry: &Path, args: &serde_json::Value) -> serde_json::Value {
        let ready = self.exchange(&serde_json::json!({
            "type": "prepare", "entry": entry, "component_id": COMPONENT,
            "limits": {"output_bytes": 65536, "nofile": 256},
        }));
        assert_eq!(ready["type"], "ready", "{ready}");
        self.exchange(&serde_json::json!({"type": "call", "invocation": "1", "args": args}))
    }
}

/// A directory with a socket, a tool and a scratch directory for one worker.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("scratch")).unwrap();
        Self { directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn worker_arguments(&self) -> Vec<String> {
        let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/python/rumi_runner.py");
        [
            COMPONENT,
            "--socket",
            self.socket().to_str().unwrap(),
            "--scratch",
            self.scratch().to_str().unwrap(),
            "--runner",
            runner.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// A running guest, killed when the test is over.
pub(crate) struct Guest(pub(crate) Child);

impl Guest {
    /// `before` is a program, with its arguments, that is to run the guest.
    pub(crate) fn start(before: &[&str], command: &str, arguments: &[String]) -> Self {
        // Whoever runs the tests may have descriptors open that a container has not.
        let child = Command::new("/bin/sh")
            .args(["-c", "exec 3>&- 4>&- 5>&- 6>&-; exec \"$@\"", "sh"])
            .args(before)
            .arg(env!("CARGO_BIN_EXE_rumi-guest"))
            .arg(command)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn python() -> String {
    [
        "/usr/bin/python3.11",
        "/usr/bin/python3",
        "/usr/local/bin/python3",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists())
    .expect("these tests need a Python interpreter")
    .to_owned()
}

/// Direct children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until `check` has something, for as long as the tests wait for anything.
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
