//! The proxy forms of HTTP/1.1: `CONNECT`, and requests that name their host in the request line.

mod connect;
mod fixed;
mod forward;
mod head;
mod reply;

use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use rumi_policy::{Capability as _, Denial, Network};

use super::{
    connect::error as connect_error,
    route::{Body, boxed},
};
use crate::capabilities::Connection;

/// Whether a request is for a proxy. Over HTTP/2 every request names a scheme and a host.
pub(super) fn is_proxied<B>(request: &Request<B>) -> bool {
    let first = matches!(request.version(), Version::HTTP_10 | Version::HTTP_11);
    first && (request.method() == Method::CONNECT || request.uri().scheme().is_some())
}

/// What a request for a proxy asks for, by its head; nothing where it is none.
pub(super) fn read<B>(request: Request<B>) -> Option<Result<String, Denial>> {
    if !is_proxied(&request) {
        return None;
    }
    Some(if request.method() == Method::CONNECT {
        connect::read(&request).map(|ask| ask.authority())
    } else {
        forward::read(request).map(|ask| Network::target(&ask).into_owned())
    })
}

/// For a request of another kind that comes over a connection of such requests. It would have
/// come through the loopback proxy of a container, behind which is the process of a worker, and
/// that may more than the process of a call that sent it.
pub(super) fn out_of_place() -> Response<Body> {
    let status =
        tonic::Status::invalid_argument("over this connection only requests for a proxy are taken");
    let mut response = boxed(connect_error(&status));
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers such a request.
pub(super) async fn answer(connection: &Connection, request: Request<Incoming>) -> Response<Body> {
    if request.method() == Method::CONNECT {
        connect::answer(connection, request).await
    } else {
        forward::absolute(connection, request).await
    }
}
