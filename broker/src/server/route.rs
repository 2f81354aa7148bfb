//! Which of the ways to speak a request uses.

use std::{convert::Infallible, future::Future, panic::AssertUnwindSafe, pin::Pin};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use rumi_proto::v1::{capabilities_server::CapabilitiesServer, worker_server::WorkerServer};
use tonic::Status;
use tower::Service as _;

use super::{bulk, connect, spare};
use crate::{capabilities::Connection, workers::WorkerConnection};

/// The body of every reply; gRPC's carries trailers.
pub(super) type Body = UnsyncBoxBody<Bytes, Status>;

/// Largest gRPC message either way, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

const CAPABILITIES: &str = "/rumi.v1.Capabilities/";
const WORKER: &str = "/rumi.v1.Worker/";

/// What one connection is answered with.
#[derive(Clone)]
pub(super) struct Routes {
    connection: Connection,
    capabilities: CapabilitiesServer<Connection>,
    worker: WorkerServer<WorkerConnection>,
    worker_connection: WorkerConnection,
}

impl Routes {
    pub(super) fn new(connection: Connection, worker: WorkerConnection) -> Self {
        Self {
            capabilities: CapabilitiesServer::new(connection.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            worker: WorkerServer::new(worker.clone()).max_decoding_message_size(MAX_MESSAGE),
            connection,
            worker_connection: worker,
        }
    }

    /// Answers one request; a panic ends this request and nothing else.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>> {
        let mut routes = self.clone();
        Box::pin(async move {
            let answered = AssertUnwindSafe(routes.dispatch(request))
                .catch_unwind()
                .await;
            Ok(answered.unwrap_or_else(|_| {
                tracing::error!("a request ended in a panic");
                boxed(connect::error(&Status::internal(
                    "the broker failed on this request; its log says why",
                )))
            }))
        })
    }

    async fn dispatch(&mut self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if is_grpc(&request) {
            let answered = if path.starts_with(CAPABILITIES) {
                self.capabilities.call(request).await
            } else if path.starts_with(WORKER) {
                self.worker.call(request).await
            } else {
                Ok(Status::unimplemented("no such service on this socket").into_http())
            };
            return match answered {
                Ok(response) => response.map(BodyExt::boxed_unsync),
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
    B::Error: std::fmt::Display,
{
    response.map(|body| {
        body.map_err(|error| Status::internal(error.to_string()))
            .boxed_unsync()
    })
}
