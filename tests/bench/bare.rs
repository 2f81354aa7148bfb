//! The bare peer: a tonic server that does nothing but answer, or write what it is sent, in a process of its own.
//!
//! Its runtime has one worker, as the broker's runtime for requests has; its replies are as
//! large as those of the measured handler.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rumi_proto::v1::{
    self,
    capabilities_server::{Capabilities, CapabilitiesServer},
};
use tokio::net::UnixListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{failure::Failure, ours};

/// Bytes of one small reply.
pub const SMALL: usize = 4096;
/// Bytes of one chunk of a download.
const CHUNK: usize = 1024 * 1024;

/// Bytes, made once, that every answer shares.
#[derive(Debug)]
struct Echo {
    small: v1::FileReadResponse,
    chunk: v1::FileChunk,
}

/// Serves until it is killed.
pub fn serve(socket: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime
        .map_err(Failure::file("a runtime"))?
        .block_on(async {
            let listener = UnixListener::bind(socket).map_err(Failure::file(socket))?;
            let open = fs::Permissions::from_mode(0o666);
            fs::set_permissions(socket, open).map_err(Failure::file(socket))?;
            let echo = Echo {
                small: v1::FileReadResponse {
                    data: vec![b'x'; SMALL].into(),
                    size: 4096,
                },
                chunk: v1::FileChunk {
                    data: vec![b'x'; CHUNK].into(),
                },
            };
            let serving = tonic::transport::Server::builder()
                .add_service(CapabilitiesServer::new(echo))
                .serve_with_incoming(UnixListenerStream::new(listener));
            Ok(serving.await?)
        })
}

/// A bare server that ends when it is dropped.
#[derive(Debug)]
pub struct Bare {
    process: Child,
    socket: PathBuf,
}

impl Bare {
    /// Starts this program once more and waits until it listens.
    pub fn start(socket: PathBuf) -> Result<Self, Failure> {
        let started = Command::new(ours())
            .args(["--serve".as_ref(), socket.as_os_str()])
            .stdin(Stdio::null())
            .spawn();
        let process = started.map_err(|source| Failure::Program {
            program: "rumi-bench --serve".to_owned(),
            source,
        })?;
        let bare = Self { process, socket };
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::os::unix::net::UnixStream::connect(&bare.socket).is_err() {
            if Instant::now() > deadline {
                return Err(Failure::Unexpected(
                    "the bare server does not listen".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(bare)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("rumi-bench: the bare server does not end: {error}");
        }
        // The next one listens there too.
        if let Err(error) = fs::remove_file(&self.socket) {
            eprintln!("rumi-bench: the bare server's socket stays: {error}");
        }
    }
}

/// Not the very file that the broker writes.
fn beside(path: &str) -> String {
    format!("{path}.bare")
}

fn nothing<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the bare server only reads"))
}

#[tonic::async_trait]
impl Capabilities for Echo {
    type FileReadStreamStream = Pin<Box<dyn Stream<Item = Result<v1::FileChunk, Status>> + Send>>;

    async fn file_read(
        &self,
        _: Request<v1::FileReadRequest>,
    ) -> Result<Response<v1::FileReadResponse>, Status> {
        Ok(Response::new(self.small.clone()))
    }

    async fn file_read_stream(
        &self,
        request: Request<v1::FileReadRequest>,
    ) -> Result<Response<Self::FileReadStreamStream>, Status> {
        let chunk = self.chunk.clone();
        let wanted = usize::try_from(request.into_inner().length).unwrap_or(0) / CHUNK;
        let chunks = tokio_stream::iter(0..wanted).map(move |_| Ok(chunk.clone()));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn file_list(
        &self,
        _: Request<v1::FileListRequest>,
    ) -> Result<Response<v1::FileListResponse>, Status> {
        nothing()
    }

    async fn file_stat(
        &self,
        _: Request<v1::FileStatRequest>,
    ) -> Result<Response<v1::FileStatResponse>, Status> {
        nothing()
    }

    async fn file_write(
        &self,
        _: Request<v1::FileWriteRequest>,
    ) -> Result<Response<v1::FileWriteResponse>, Status> {
        nothing()
    }

    async fn file_write_stream(
        &self,
        request: Request<Streaming<v1::FileWriteChunk>>,
    ) -> Result<Response<v1::FileWriteResponse>, Status> {
        let mut chunks = request.into_inner();
        let mut size = 0;
        let mut file = None;
        while let Some(chunk) = chunks.message().await? {
            let file = match &mut file {
                Some(file) => file,
                none => none.insert(fs::File::create(beside(&chunk.path))?),
            };
            file.write_all(&chunk.data)?;
            size += u64::try_from(chunk.data.len()).unwrap_or(u64::MAX);
        }
        Ok(Response::new(v1::FileWriteResponse { size }))
    }

    async fn file_mkdir(
        &self,
        _: Request<v1::FileMkdirRequest>,
    ) -> Result<Response<v1::FileMkdirResponse>, Status> {
        nothing()
    }

    async fn file_delete(
        &self,
        _: Request<v1::FileDeleteRequest>,
    ) -> Result<Response<v1::FileDeleteResponse>, Status> {
        nothing()
    }

    async fn file_rename(
        &self,
        _: Request<v1::FileRenameRequest>,
    ) -> Result<Response<v1::FileRenameResponse>, Status> {
        nothing()
    }

    async fn env_read(
        &self,
        _: Request<v1::EnvReadRequest>,
    ) -> Result<Response<v1::EnvReadResponse>, Status> {
        nothing()
    }

    async fn terminal_run(
        &self,
        _: Request<v1::TerminalRunRequest>,
    ) -> Result<Response<v1::TerminalRunResponse>, Status> {
        nothing()
    }

    async fn custom_call(
        &self,
        _: Request<v1::CustomCallRequest>,
    ) -> Result<Response<v1::CustomCallResponse>, Status> {
        nothing()
    }

    async fn network_fetch(
        &self,
        _: Request<v1::NetworkFetchRequest>,
    ) -> Result<Response<v1::NetworkFetchResponse>, Status> {
        nothing()
    }

    type TerminalStreamStream =
        Pin<Box<dyn Stream<Item = Result<v1::TerminalOutput, Status>> + Send>>;

    async fn terminal_stream(
        &self,
        _: Request<tonic::Streaming<v1::TerminalInput>>,
    ) -> Result<Response<Self::TerminalStreamStream>, Status> {
        nothing()
    }

    async fn network_resolve(
        &self,
        _: Request<v1::NetworkResolveRequest>,
    ) -> Result<Response<v1::NetworkResolveResponse>, Status> {
        nothing()
    }
}
