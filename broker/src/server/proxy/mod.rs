//! The proxy forms of HTTP/1.1: `CONNECT`, and requests that name their host in the request line.

mod connect;
mod fixed;
mod forward;
mod head;
mod reply;

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;

use super::route::Body;
use crate::capabilities::Connection;

/// Whether a request is for a proxy. Over HTTP/2 every request names a scheme and a host.
pub(super) fn is_proxied<B>(request: &Request<B>) -> bool {
    let first = matches!(request.version(), Version::HTTP_10 | Version::HTTP_11);
    first && (request.method() == Method::CONNECT || request.uri().scheme().is_some())
}

/// Answers such a request.
pub(super) async fn answer(connection: &Connection, request: Request<Incoming>) -> Response<Body> {
    if request.method() == Method::CONNECT {
        connect::answer(connection, request).await
    } else {
        forward::absolute(connection, request).await
    }
}
