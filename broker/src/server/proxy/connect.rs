//! `CONNECT host:port`.

use http::{Request, Response};
use hyper::body::Incoming;
use rumi_policy::{Denial, Scheme, TunnelAsk};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{fixed, reply};
use crate::{
    capabilities::Connection,
    handlers::Inside,
    refusal::Refusal,
    server::{near, route::Body},
};

pub(super) async fn answer(
    connection: &Connection,
    mut request: Request<Incoming>,
) -> Response<Body> {
    match open(connection, &mut request).await {
        Ok(()) => Response::new(Body::empty()),
        Err(refusal) => reply::refusal(&refusal),
    }
}

async fn open(connection: &Connection, request: &mut Request<Incoming>) -> Result<(), Refusal> {
    let ask = match read(request) {
        Ok(ask) => ask,
        Err(denial) => return Err(connection.misspoken("tunnel", denial).await),
    };
    let inside = Fixed {
        connection: connection.clone(),
        ask: ask.clone(),
    };
    let near = near::of(request);
    connection.tunnel(ask, near, inside).await
}

/// What the head asks for.
pub(super) fn read<B>(request: &Request<B>) -> Result<TunnelAsk, Denial> {
    let authority = request
        .uri()
        .authority()
        .map_or("", |target| target.as_str());
    TunnelAsk::parse(authority).and_then(|ask| agree(request, ask))
}

/// A tunnel has no body before it is open, and no second opinion of where it leads.
fn agree<B>(request: &Request<B>, ask: TunnelAsk) -> Result<TunnelAsk, Denial> {
    use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
    let headers = request.headers();
    // Some clients say that their body is empty; none has another one to send.
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if headers.contains_key(TRANSFER_ENCODING) || lengths.any(|length| length != "0") {
        return Err(Denial::bad_request(
            "`CONNECT` takes no body; leave `content-length` and `transfer-encoding` out",
        ));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    let (full, bare) = (ask.authority(), ask.bare_host());
    let agrees = host.is_none_or(|host| host == full.as_bytes() || host == bare.as_bytes());
    if hosts.next().is_some() || !agrees {
        return Err(Denial::bad_request(
            "the `host` header names another host than the target of `CONNECT`",
        ));
    }
    Ok(ask)
}

/// What serves HTTP inside a tunnel.
struct Fixed {
    connection: Connection,
    ask: TunnelAsk,
}

impl Inside for Fixed {
    async fn serve<S>(self, stream: S, scheme: Scheme)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let authority = fixed::Authority {
            scheme,
            host: self.ask.host().clone(),
            port: self.ask.port(),
        };
        fixed::serve(self.connection, authority, stream).await;
    }
}
