//! Which of the ways to speak a request uses.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;
use rumi_proto::v1::{capabilities_server::CapabilitiesServer, worker_server::WorkerServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tower::Service as _;

use super::{bulk, connect, proxy, spare, terminal};
use crate::{capabilities::Connection, workers::WorkerConnection};

/// The body of every reply; gRPC's carries trailers.
pub(super) type Body = tonic::body::Body;

/// Largest gRPC message either way, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Largest message of a worker, which says little, in bytes.
const MAX_WORKER_MESSAGE: usize = 64 * 1024;

const CAPABILITIES: &str = "/rumi.v1.Capabilities/";
const WORKER: &str = "/rumi.v1.Worker/";

/// What one connection is answered with.
pub(super) struct Routes {
    connection: Connection,
    capabilities: CapabilitiesServer<Connection>,
    worker: WorkerServer<WorkerConnection>,
    worker_connection: WorkerConnection,
    turns: Arc<Semaphore>,
    channels: Arc<Semaphore>,
    /// This connection's place among those of HTTP/2, from its first request on.
    channel: OnceLock<OwnedSemaphorePermit>,
    /// A request for a proxy has come over this connection.
    proxied: AtomicBool,
}

impl Routes {
    /// `turns` are shared by all connections of a component: whatever a request holds in the
    /// broker's memory is held as often as there are turns, and no more. `channels` are how many of
    /// them may speak HTTP/2, whose requests may send ahead of their turns.
    pub(super) fn new(
        connection: Connection,
        worker: WorkerConnection,
        turns: Arc<Semaphore>,
        channels: Arc<Semaphore>,
    ) -> Self {
        Self {
            capabilities: CapabilitiesServer::new(connection.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            worker: WorkerServer::new(worker.clone()).max_decoding_message_size(MAX_WORKER_MESSAGE),
            connection,
            worker_connection: worker,
            turns,
            channels,
            channel: OnceLock::new(),
            proxied: AtomicBool::new(false),
        }
    }

    /// Answers one request; a panic ends this request and nothing else.
    pub(super) fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<InTurn>, Infallible>> + Send>> {
        let routes = Arc::clone(self);
        Box::pin(async move {
            let answered = AssertUnwindSafe(routes.in_turn(request))
                .catch_unwind()
                .await;
            Ok(answered.unwrap_or_else(|_| {
                tracing::error!("a request ended in a panic");
                let status =
                    Status::internal("the broker failed on this request; its log says why");
                boxed(connect::error(&status)).map(InTurn::free)
            }))
        })
    }

    /// Waits for a turn, and keeps it until the reply is sent. A worker's stream lives as
    /// long as the worker and takes none.
    async fn in_turn(&self, request: Request<Incoming>) -> Response<InTurn> {
        if !self.has_channel(&request) {
            return too_many_channels(&request).map(InTurn::free);
        }
        // First, whatever its path is: it is a path of the host that the request names.
        // What is proxied streams for as long as it likes, holds little memory, and has places of its own.
        if proxy::is_proxied(&request) {
            self.proxied.store(true, Ordering::Relaxed);
            return proxy::answer(&self.connection, request)
                .await
                .map(InTurn::free);
        }
        if self.proxied.load(Ordering::Relaxed) {
            return proxy::out_of_place().map(InTurn::free);
        }
        if request.uri().path().starts_with(WORKER) {
            return self.dispatch(request).await.map(InTurn::free);
        }
        // Nobody closes the semaphore, and so there is a turn for everybody in the end.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let response = self.dispatch(request).await;
        response.map(|body| InTurn { body, _turn: turn })
    }

    /// A worker needs none: its own component must not be able to keep it out.
    fn has_channel<B>(&self, request: &Request<B>) -> bool {
        if request.version() != Version::HTTP_2
            || request.uri().path().starts_with(WORKER)
            || self.channel.get().is_some()
        {
            return true;
        }
        let place = Arc::clone(&self.channels).try_acquire_owned();
        place
            .map(|place| self.channel.get_or_init(|| place))
            .is_ok()
    }

    async fn dispatch(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if is_grpc(&request) {
            let answered = if path.starts_with(CAPABILITIES) {
                self.capabilities.clone().call(request).await
            } else if path.starts_with(WORKER) {
                self.worker.clone().call(request).await
            } else {
                Ok(Status::unimplemented("no such service on this socket").into_http())
            };
            return match answered {
                Ok(response) => response,
                Err(never) => match never {},
            };
        }
        if path == "/files" {
            return match *request.method() {
                Method::GET => bulk::download(&self.connection, &request).await,
                Method::PUT => bulk::upload(&self.connection, request).await,
                _ => boxed(connect::error(&Status::unimplemented(
                    "`/files` takes GET and PUT",
                ))),
            };
        }
        if request.method() == Method::POST {
            if path == "/rumi.v1.Worker/Spare" {
                return boxed(spare::upgrade(&self.worker_connection, request));
            }
            if path == "/rumi.v1.Capabilities/TerminalStream" && terminal::is_asked_for(&request) {
                return boxed(terminal::upgrade(&self.connection, request));
            }
            if let Some(method) = path.strip_prefix(CAPABILITIES) {
                let method = method.to_owned();
                return boxed(connect::answer(&self.connection, &method, request).await);
            }
        }
        boxed(connect::error(&Status::unimplemented(
            "nothing is served here; see proto/rumi/v1 for what is",
        )))
    }
}

/// A reply's body with the turn that it ends.
pub(super) struct InTurn {
    body: Body,
    _turn: Option<OwnedSemaphorePermit>,
}

impl InTurn {
    fn free(body: Body) -> Self {
        Self { body, _turn: None }
    }
}

impl http_body::Body for InTurn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn too_many_channels<B>(request: &Request<B>) -> Response<Body> {
    let status = Status::resource_exhausted(
        "this component has as many HTTP/2 connections open as it may; one carries many requests at once",
    );
    match is_grpc(request) {
        true => status.into_http(),
        false => boxed(connect::error(&status)),
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Gives a body of another kind the type of all replies.
pub(super) fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    response.map(Body::new)
}
