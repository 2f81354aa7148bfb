//! Requests that are passed on, head and bodies as they come.

use http::{HeaderMap, HeaderName, Request, Response, Version};
use hyper::body::Incoming;
use rumi_policy::{Denial, HttpMethod, NetworkAsk};

use super::{fixed::Authority, head, reply};
use crate::{
    capabilities::{Connection, Room},
    server::route::{Body, boxed},
};

/// A request whose line names scheme and host.
pub(super) async fn absolute(
    connection: &Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    let ask = named(&request);
    pass(connection, ask, request, Room::Own).await
}

/// What the line of a request names.
fn named<B>(request: &Request<B>) -> Result<NetworkAsk, Denial> {
    NetworkAsk::parse(request.method().as_str(), &request.uri().to_string())
}

/// What such a request asks for, by its head.
pub(super) fn read<B>(request: Request<B>) -> Result<NetworkAsk, Denial> {
    let ask = named(&request)?;
    let (parts, _body) = request.into_parts();
    check(ask, parts.version, parts.headers).map(|(ask, _)| ask)
}

/// The ask with all that its headers say, and the headers that are for the server.
fn check(
    ask: NetworkAsk,
    version: Version,
    headers: HeaderMap,
) -> Result<(NetworkAsk, HeaderMap), Denial> {
    let headers = head::end_to_end(version, headers, &ask)?;
    let ask = ask.with_headers(headers.keys().map(HeaderName::as_str));
    Ok((ask, headers))
}

/// A request inside a tunnel, whose line names a path only.
pub(super) async fn inside(
    connection: &Connection,
    authority: &Authority,
    request: Request<Incoming>,
) -> Response<Body> {
    let ask = ask_inside(authority, &request);
    pass(connection, ask, request, Room::Tunnel).await
}

fn ask_inside(authority: &Authority, request: &Request<Incoming>) -> Result<NetworkAsk, Denial> {
    if request.uri().authority().is_some() {
        return Err(Denial::bad_request(
            "inside a tunnel a request names its path only, and opens no other tunnel",
        ));
    }
    let method = request.method().as_str().parse::<HttpMethod>();
    let method = method.map_err(|error| Denial::bad_request(error.to_string()))?;
    NetworkAsk::new(
        method,
        authority.scheme,
        authority.host.clone(),
        authority.port,
        &request.uri().to_string(),
    )
}

async fn pass(
    connection: &Connection,
    ask: Result<NetworkAsk, Denial>,
    request: Request<Incoming>,
    room: Room,
) -> Response<Body> {
    let version = request.version();
    let (parts, body) = request.into_parts();
    let checked = ask.and_then(|ask| check(ask, version, parts.headers));
    let (ask, headers) = match checked {
        Ok(checked) => checked,
        Err(denial) => {
            let refusal = connection.misspoken("fetch", denial).await;
            return reply::last(&refusal);
        }
    };
    match connection.forward(ask, headers, body, room).await {
        Ok(response) => boxed(response),
        Err(refusal) => reply::refusal(&refusal),
    }
}
