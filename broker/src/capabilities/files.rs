//! The file requests of the wire.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use rumi_policy::{
    Denial, FileKind, FileReadAction, FileReadAsk, FileWriteAction, FileWriteAsk, Reason,
};
use rumi_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::Connection;
use crate::{
    freight::Freight,
    handlers::{
        ListHandler, ReadHandler, ReadStreamHandler, StatHandler, StreamStart, UploadHandler,
        WriteHandler,
    },
    pipeline,
    refusal::{Failure, Refusal},
};

/// Chunks that wait for a slow reader.
const QUEUE: usize = 4;

/// A download that was allowed and has begun.
#[derive(Debug)]
pub struct Download {
    /// How much will come.
    pub start: StreamStart,
    chunks: mpsc::Receiver<Result<Bytes, Refusal>>,
}

impl Download {
    /// The content, chunk by chunk.
    pub fn into_bytes(self) -> impl Stream<Item = Result<Bytes, Status>> + Send {
        ReceiverStream::new(self.chunks).map(|chunk| chunk.map_err(Status::from))
    }

    /// The content as messages.
    pub fn into_chunks(self) -> impl Stream<Item = Result<v1::FileChunk, Status>> + Send {
        self.into_bytes()
            .map(|chunk| chunk.map(|data| v1::FileChunk { data }))
    }
}

impl Connection {
    pub(super) async fn read(
        &self,
        request: v1::FileReadRequest,
        freight: Option<Freight>,
    ) -> Result<v1::FileReadResponse, Refusal> {
        let ask = FileReadAsk {
            path: self.path("file_read", "read", &request.path).await?,
            action: FileReadAction::Read {
                offset: request.offset,
                length: request.length,
            },
        };
        let content =
            pipeline::run(&self.broker, &self.caller, ask, ReadHandler { freight }).await?;
        Ok(v1::FileReadResponse {
            data: content.data,
            size: content.size,
        })
    }

    /// Starts a download; its task lives on the background runtime and ends with its reader.
    pub async fn download(&self, request: v1::FileReadRequest) -> Result<Download, Refusal> {
        let ask = FileReadAsk {
            path: self.path("file_read", "read", &request.path).await?,
            action: FileReadAction::Read {
                offset: request.offset,
                length: request.length,
            },
        };
        let (start, started) = oneshot::channel();
        let (sender, chunks) = mpsc::channel(QUEUE);
        let handler = ReadStreamHandler {
            start,
            chunks: sender,
        };
        // Who goes away before it has begun takes it along; from then on it ends with its reader.
        let task = AbortOnDropHandle::new(self.spawned(ask, handler, ()));
        match started.await {
            Ok(start) => {
                task.detach();
                Ok(Download { start, chunks })
            }
            Err(_) => match task.await {
                Ok(Err(refusal)) => Err(refusal),
                _ => Err(Refusal::failed(
                    Failure::Internal,
                    "the broker failed on this request; its log says why",
                )),
            },
        }
    }

    pub(super) async fn list(
        &self,
        request: v1::FileListRequest,
    ) -> Result<v1::FileListResponse, Refusal> {
        let ask = FileReadAsk {
            path: self.path("file_read", "list", &request.path).await?,
            action: FileReadAction::List,
        };
        let handler = ListHandler::new(request.page_size, &request.page_token)?;
        let listing = self.while_wanted(ask, handler).await?;
        Ok(v1::FileListResponse {
            entries: listing
                .entries
                .into_iter()
                .map(|(name, kind)| v1::FileEntry {
                    name,
                    kind: wire_kind(kind).into(),
                })
                .collect(),
            next_page_token: listing.next.map(|n| n.to_string()).unwrap_or_default(),
        })
    }

    pub(super) async fn stat(
        &self,
        request: v1::FileStatRequest,
    ) -> Result<v1::FileStatResponse, Refusal> {
        let ask = FileReadAsk {
            path: self.path("file_read", "stat", &request.path).await?,
            action: FileReadAction::Stat,
        };
        let facts = pipeline::run(&self.broker, &self.caller, ask, StatHandler).await?;
        Ok(v1::FileStatResponse {
            kind: wire_kind(facts.kind).into(),
            size: facts.size,
            modified_unix: facts.modified,
            mode: facts.mode,
        })
    }

    pub(super) async fn write(
        &self,
        request: v1::FileWriteRequest,
    ) -> Result<v1::FileWriteResponse, Refusal> {
        let (action, name) = match request.mode() {
            v1::WriteMode::Replace => (FileWriteAction::Write, "write"),
            v1::WriteMode::Append => (FileWriteAction::Append, "append"),
            v1::WriteMode::Create => (FileWriteAction::Create, "create"),
        };
        let bytes = u64::try_from(request.data.len()).unwrap_or(u64::MAX);
        let size = self
            .change(&request.path, name, action, bytes, request.data)
            .await?;
        Ok(v1::FileWriteResponse { size })
    }

    /// Takes in an upload whose first message says where it goes.
    pub(super) async fn take_in(
        &self,
        mut chunks: Streaming<v1::FileWriteChunk>,
    ) -> Result<v1::FileWriteResponse, Refusal> {
        let first = chunks.message().await.map_err(|_| ended_early())?;
        let first = first.unwrap_or_default();
        let create = match first.mode() {
            v1::WriteMode::Replace => false,
            v1::WriteMode::Create => true,
            v1::WriteMode::Append => {
                let denial = Denial::new(
                    Reason::BadRequest,
                    "an upload replaces or creates a file; appending goes by FileWrite",
                );
                return Err(self.malformed("file_write", "append", denial).await);
            }
        };
        let (path, size) = (first.path, first.size);
        let rest = chunks.map(|chunk| match chunk {
            Ok(chunk) if chunk.path.is_empty() => Ok(chunk.data),
            Ok(_) => Err(Refusal::failed(
                Failure::Precondition,
                "only the first message of an upload names a file",
            )),
            Err(_) => Err(ended_early()),
        });
        let body = stream::iter([Ok(first.data)]).chain(rest);
        self.upload(&path, create, size, body).await
    }

    /// Takes in an upload; `length` is what the head of the request said, if it said.
    pub async fn upload(
        &self,
        path: &str,
        create: bool,
        length: u64,
        body: impl Stream<Item = Result<Bytes, Refusal>> + Send + 'static,
    ) -> Result<v1::FileWriteResponse, Refusal> {
        let ask = FileWriteAsk {
            path: self.path("file_write", "write", path).await?,
            action: if create {
                FileWriteAction::Create
            } else {
                FileWriteAction::Write
            },
            bytes: length,
        };
        let size = self.detached(ask, UploadHandler { body }).await?;
        Ok(v1::FileWriteResponse { size })
    }

    pub(super) async fn mkdir(&self, request: v1::FileMkdirRequest) -> Result<u64, Refusal> {
        let action = FileWriteAction::Mkdir {
            parents: request.parents,
        };
        self.change(&request.path, "mkdir", action, 0, Bytes::new())
            .await
    }

    pub(super) async fn delete(&self, request: v1::FileDeleteRequest) -> Result<u64, Refusal> {
        self.change(
            &request.path,
            "delete",
            FileWriteAction::Delete,
            0,
            Bytes::new(),
        )
        .await
    }

    pub(super) async fn rename(&self, request: v1::FileRenameRequest) -> Result<u64, Refusal> {
        let to = self.path("file_write", "rename", &request.to).await?;
        let action = FileWriteAction::Rename { to };
        self.change(&request.from, "rename", action, 0, Bytes::new())
            .await
    }

    async fn change(
        &self,
        path: &str,
        name: &'static str,
        action: FileWriteAction,
        bytes: u64,
        data: Bytes,
    ) -> Result<u64, Refusal> {
        let ask = FileWriteAsk {
            path: self.path("file_write", name, path).await?,
            action,
            bytes,
        };
        self.detached(ask, WriteHandler { data }).await
    }
}

/// The sender went away.
pub fn ended_early() -> Refusal {
    Refusal::failed(
        Failure::Precondition,
        "the upload ended before it was whole",
    )
}

fn wire_kind(kind: FileKind) -> v1::FileKind {
    match kind {
        FileKind::File => v1::FileKind::File,
        FileKind::Directory => v1::FileKind::Directory,
        FileKind::Symlink => v1::FileKind::Symlink,
        FileKind::Other => v1::FileKind::Other,
    }
}
