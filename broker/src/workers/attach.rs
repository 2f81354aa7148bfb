//! What arrives from a worker: its attachment, and its spares.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use rumi_audit::Peer;
use rumi_proto::v1::{self, worker_command::Command, worker_event::Event, worker_server};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::mpsc,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::pool::{Place, Pool};

/// Commands that may wait for a worker that does not read.
const COMMANDS: usize = 64;

/// The worker's side of one connection.
#[derive(Debug, Clone)]
pub struct WorkerConnection {
    pool: Arc<Pool>,
    peer: Peer,
    staff: bool,
    calls: Handle,
}

impl WorkerConnection {
    /// For a connection on the socket of the pool's component; `calls` is the runtime that makes calls.
    #[must_use]
    pub fn new(pool: Arc<Pool>, peer: Peer, place: &Place, calls: Handle) -> Self {
        Self {
            pool,
            peer,
            staff: matches!(place, Place::Staff),
            calls,
        }
    }

    /// The runtime that makes calls.
    #[must_use]
    pub fn calls(&self) -> &Handle {
        &self.calls
    }

    /// Takes in a spare that has just connected. Its connection should be served by the runtime that calls.
    pub async fn spare<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // A process of a call would outlive its call as a spare.
        if self.staff {
            self.pool.admit(self.peer, Box::new(stream)).await;
        }
    }
}

#[tonic::async_trait]
impl worker_server::Worker for WorkerConnection {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::WorkerCommand, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::WorkerEvent>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        if !self.staff {
            return Err(Status::permission_denied(
                "a process of a call is no worker",
            ));
        }
        let mut events = request.into_inner();
        let hello = match events.message().await? {
            Some(v1::WorkerEvent {
                event: Some(Event::Hello(hello)),
            }) => hello,
            _ => {
                return Err(Status::failed_precondition(
                    "a worker speaks first, and its first word is hello",
                ));
            }
        };
        let (commands, outgoing) = mpsc::channel(COMMANDS);
        let configure = self.pool.configure();
        commands
            .try_send(Ok(command(Command::Configure(configure))))
            .map_err(|_| Status::internal("the command queue is closed"))?;
        let attachment = self.pool.attached(commands, &hello.guest_version);
        let pool = Arc::clone(&self.pool);
        tokio::spawn(async move {
            // Dropped last, so that the pool learns that its worker is gone.
            let attachment = attachment;
            while let Some(Ok(event)) = events.next().await {
                match event.event {
                    Some(Event::SpareFailed(failed)) => pool.spare_failed(&failed.message),
                    Some(Event::Wiped(wiped)) => pool.wiped(wiped.wipe_id),
                    Some(Event::Output(output)) => pool.printed(&output.line),
                    Some(Event::ServiceState(state)) => pool.service_changed(state),
                    Some(Event::Hello(_)) | None => break,
                }
            }
            drop(attachment);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// Wraps a command for the wire.
pub(super) fn command(command: Command) -> v1::WorkerCommand {
    v1::WorkerCommand {
        command: Some(command),
    }
}
