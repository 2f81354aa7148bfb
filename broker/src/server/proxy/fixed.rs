//! HTTP/1.1 inside a tunnel: host, port and scheme are those of the tunnel, and each request is a request of
//! its own, decided and recorded.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rumi_policy::{Host, Port, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};

use super::forward;
use crate::capabilities::Connection;

/// How long a client may take with a request's head, or wait before it sends the next one.
const NEXT_HEAD: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const MAX_HEAD: usize = 256 * 1024;

/// Where all requests of a connection go.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: Port,
}

/// Serves until the client ends the connection, or sends what is not HTTP/1.1.
pub(crate) async fn serve<S>(connection: Connection, authority: Authority, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::new((connection, authority));
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let (connection, authority) = &*shared;
            Ok::<_, Infallible>(forward::inside(connection, authority, request).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection inside a tunnel ended early");
    }
}
