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
use tonic::Status;
use tower::Service as _;

use super::{bulk, connect, metered::Metered, proxy, spare, terminal};
use crate::{
    caller::Identity,
    capabilities::Connection,
    config::MESSAGE,
    freight::{FREE, Freight},
    shares::{Place, Share},
    workers::WorkerConnection,
};

/// The body of every reply; gRPC's carries trailers.
pub(super) type Body = tonic::body::Body;

/// Largest gRPC message either way, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// What is held at once of a body that is passed on while it comes, in bytes.
const STREAMED: u64 = 1024 * 1024;

/// Largest message of a worker, which says little, in bytes.
const MAX_WORKER_MESSAGE: usize = 64 * 1024;

const CAPABILITIES: &str = "/rumi.v1.Capabilities/";
const WORKER: &str = "/rumi.v1.Worker/";
const FILES: &str = "/files";

/// What one connection is answered with.
pub(super) struct Routes {
    connection: Connection,
    capabilities: CapabilitiesServer<Connection>,
    worker: WorkerServer<WorkerConnection>,
    worker_connection: WorkerConnection,
    identity: Arc<Identity>,
    channel: Channel,
    /// A request for a proxy has come over this connection.
    proxied: AtomicBool,
}

impl Routes {
    /// What the component may have at once is its identity's: whatever a request holds in the
    /// broker's memory is held as often as there are turns, and no more. HTTP/2, whose requests may
    /// send ahead of their turns, is for few connections.
    pub(super) fn new(
        connection: Connection,
        worker: WorkerConnection,
        identity: Arc<Identity>,
    ) -> Self {
        Self {
            capabilities: CapabilitiesServer::new(connection.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            worker: WorkerServer::new(worker.clone()).max_decoding_message_size(MAX_WORKER_MESSAGE),
            connection,
            worker_connection: worker,
            identity,
            channel: Channel::default(),
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
        let channels = &self.identity.shares().channels;
        if !self.channel.takes(&request, channels) {
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
            let request = request.map(Metered::free);
            return self.dispatch(request).await.map(InTurn::free);
        }
        let turn = self.identity.shares().requests.wait().await;
        let freight = Freight::new(Arc::clone(&self.identity));
        let most = if request.uri().path() == FILES {
            STREAMED
        } else {
            MESSAGE
        };
        let mut request = request.map(|body| Metered::new(body, freight.clone(), most));
        request.extensions_mut().insert(freight.clone());
        let response = self.dispatch(request).await;
        response.map(|body| InTurn {
            body,
            held: Some(Arc::new((turn, freight))),
        })
    }

    async fn dispatch(&self, request: Request<Metered>) -> Response<Body> {
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
        if path == FILES {
            return match *request.method() {
                Method::GET => {
                    let query = request.uri().query().unwrap_or_default();
                    bulk::download(&self.connection, query).await
                }
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

/// Whether a connection may speak HTTP/2, whose requests may send ahead.
#[derive(Debug, Default)]
struct Channel {
    /// Its place among those that may, from its first request on.
    place: OnceLock<Place>,
    /// It has carried a worker's stream.
    attached: AtomicBool,
}

impl Channel {
    /// The one stream of a worker needs no place: its own component must not be able to keep it out. More of
    /// them over one connection do, for what runs outside of calls could send ahead on as many as there may be.
    fn takes<B>(&self, request: &Request<B>, places: &Share) -> bool {
        if request.version() != Version::HTTP_2 || self.place.get().is_some() {
            return true;
        }
        if request.uri().path().starts_with(WORKER) && !self.attached.swap(true, Ordering::Relaxed)
        {
            return true;
        }
        let place = places.take();
        place
            .map(|place| self.place.get_or_init(|| place))
            .is_some()
    }
}

/// A reply's body with the turn that it ends, and the room that its bytes have.
pub(super) struct InTurn {
    body: Body,
    held: Option<Arc<Held>>,
}

/// Kept until the last byte of the reply is with the kernel.
type Held = (Option<Place>, Freight);

/// Bytes that HTTP holds for a peer who does not read, long after the body has ended.
struct Unsent {
    data: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl InTurn {
    fn free(body: Body) -> Self {
        Self { body, held: None }
    }
}

impl http_body::Body for InTurn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Some(held) = &self.held else {
            return polled;
        };
        polled.map_ok(|frame| {
            frame.map_data(|data| {
                if u64::try_from(data.len()).is_ok_and(|length| length <= FREE) {
                    return data;
                }
                Bytes::from_owner(Unsent {
                    data,
                    _held: Arc::clone(held),
                })
            })
        })
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
        "this pack has as many HTTP/2 connections open as it may; one carries many requests at once",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, version: Version) -> Request<()> {
        let request = Request::builder().uri(path).version(version);
        request.body(()).unwrap()
    }

    #[test]
    fn a_worker_needs_no_channel_for_its_one_stream_and_many_streams_need_one() {
        let none = Share::of(0);
        let attach = request("/rumi.v1.Worker/Attach", Version::HTTP_2);
        let connection = Channel::default();
        assert!(connection.takes(&attach, &none));
        assert!(!connection.takes(&attach, &none));
        assert!(Channel::default().takes(&attach, &none));
        let read = request("/rumi.v1.Capabilities/FileRead", Version::HTTP_2);
        assert!(!Channel::default().takes(&read, &none));
        let simple = request("/rumi.v1.Capabilities/FileRead", Version::HTTP_11);
        assert!(Channel::default().takes(&simple, &none));
        let one = Share::of(1);
        let connection = Channel::default();
        assert!((0..9).all(|_| connection.takes(&attach, &one) && connection.takes(&read, &one)));
        assert!(!Channel::default().takes(&read, &one));
    }
}
