//! A component's socket, spoken to as the component would.

use std::{
    io,
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rumi_proto::v1::capabilities_client::CapabilitiesClient;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Output,
    http::{self, Reply},
};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who connects, and to which socket.
#[derive(Debug, Clone)]
pub struct Peer {
    socket: PathBuf,
    uid: u32,
}

impl Peer {
    /// A user of the host and a socket.
    #[must_use]
    pub fn new(socket: PathBuf, uid: u32) -> Self {
        Self { socket, uid }
    }
    /// The same socket under another uid.
    #[must_use]
    pub fn with_uid(&self, uid: u32) -> Self {
        Self::new(self.socket.clone(), uid)
    }
    /// The component's uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }
    /// The component's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A connection that nothing has been said on.
    ///
    /// # Errors
    /// When the kernel or the broker refuses it.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let stream = connect_as(&self.socket, self.uid)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// One method in the JSON form.
    #[track_caller]
    pub fn json(&self, method: &str, message: &Value) -> Reply {
        self.post(method, message.to_string().as_bytes())
    }

    /// The same with a body that may be anything.
    #[track_caller]
    pub fn post(&self, method: &str, body: &[u8]) -> Reply {
        let path = format!("/rumi.v1.Capabilities/{method}");
        self.http("POST", &path, &[("Content-Type", "application/json")], body)
    }

    /// One HTTP/1.1 request on a connection of its own.
    #[track_caller]
    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let stream = self.connect().expect("a connection");
        http::exchange(stream, method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Runs a Python program under the component's uid, with the socket as its argument.
    #[track_caller]
    pub fn python(&self, program: &str) -> Output {
        let mut command = Command::new("python3");
        command
            .args(["-I", "-c", program])
            .arg(&self.socket)
            .current_dir("/");
        Output::of(command.uid(self.uid).gid(self.uid))
    }

    /// Downloads a file as a plain body.
    #[track_caller]
    pub fn get_file(&self, path: &Path, range: &str) -> Reply {
        self.http(
            "GET",
            &format!("/files?path={}{range}", path.display()),
            &[],
            b"",
        )
    }

    /// The same service by gRPC; call it inside of [`crate::Broker::block_on`].
    pub async fn grpc(&self) -> CapabilitiesClient<Channel> {
        let channel = channel(&self.socket, Some(self.uid))
            .await
            .expect("a connection");
        CapabilitiesClient::new(channel)
    }
}

/// Connects as another user. Only the kernel's thread changes its user, and it ends with
/// the connection made, so that no other test notices.
fn connect_as(socket: &Path, uid: u32) -> io::Result<UnixStream> {
    let socket = socket.to_owned();
    let thread = std::thread::spawn(move || {
        let (user, group) = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(uid),
        );
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        UnixStream::connect(socket)
    });
    thread.join().expect("the thread that connects")
}

pub(crate) async fn channel(
    socket: &Path,
    uid: Option<u32>,
) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move {
            let stream = match uid {
                Some(uid) => connect_as(&socket, uid),
                None => UnixStream::connect(&socket),
            }?;
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream).map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await
}
