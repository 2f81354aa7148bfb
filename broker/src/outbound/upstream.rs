//! A connection to a server for requests whose bodies stream both ways.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rumi_policy::{Confirmed, Network, NetworkAsk, Scheme};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

use super::{
    deadline,
    dial::dial,
    exchange::{Exchange, MAX_REPLY_HEAD, MAX_REPLY_HEADERS},
    fetch::FetchError,
    pool::{Line, Route},
    tls::Tls,
    traffic::Traffic,
};

/// Bytes of a reply that are read ahead of their reader, and the largest piece that is passed on.
const MAX_PIECE: usize = 128 * 1024;

/// Gives requests to a connection.
pub(crate) type Sender = http1::SendRequest<Upload>;

/// Connects to the confirmed destination. The connection is driven by a task that ends with it.
pub(crate) async fn open(
    tls: &Tls,
    confirmed: &Confirmed<Network>,
    until: Instant,
) -> Result<Line, FetchError> {
    let timeout = |_passed| FetchError::Timeout {
        authority: confirmed.ask().authority(),
    };
    deadline::before(until, connect(tls, confirmed, until))
        .await
        .map_err(timeout)?
}

async fn connect(
    tls: &Tls,
    confirmed: &Confirmed<Network>,
    until: Instant,
) -> Result<Line, FetchError> {
    let ask = confirmed.ask();
    let stream = dial(confirmed.facts(), until).await?;
    // Without the address the connection is used once: no later request can have it judged.
    let address = stream.peer_addr().map(|address| address.ip()).ok();
    let exchange = Exchange::with(ask);
    let (sender, driver) = match ask.scheme() {
        Scheme::Http => handshake(&exchange, stream).await?,
        Scheme::Https => {
            let stream = tls.connect(ask.host(), stream).await?;
            handshake(&exchange, stream).await?
        }
    };
    Ok(Line {
        route: Route::of(ask),
        address: address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
        sender,
        driver,
    })
}

async fn handshake<S>(
    exchange: &Exchange,
    stream: S,
) -> Result<(Sender, tokio::task::AbortHandle), FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_REPLY_HEADERS)
        .max_header_size(MAX_REPLY_HEAD)
        .max_buf_size(MAX_PIECE)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| exchange.broken(error))?;
    // How it ends is seen by whoever waits for a reply on it.
    let driver = tokio::spawn(async move { drop(connection.with_upgrades().await) });
    Ok((sender, driver.abort_handle()))
}

/// The request as the server gets it: its host is the judged one and said once, in `host`.
pub(crate) fn upload(
    ask: &NetworkAsk,
    mut headers: HeaderMap,
    body: Incoming,
    traffic: &Arc<Traffic>,
) -> Result<Request<Upload>, FetchError> {
    let write = || -> Result<Request<()>, http::Error> {
        let method = Method::from_bytes(ask.method().as_str().as_bytes())?;
        let target = PathAndQuery::try_from(ask.path_and_query())?;
        Request::builder()
            .method(method)
            .uri(Uri::from(target))
            .body(())
    };
    let (mut head, ()) = write().map_err(FetchError::Request)?.into_parts();
    let host = HeaderValue::try_from(ask.authority());
    let host = host.map_err(|error| FetchError::Request(error.into()))?;
    headers.insert(header::HOST, host);
    // The HTTP library would send a `GET` of unknown length without its body.
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(header::TRANSFER_ENCODING, chunked);
    }
    head.headers = headers;
    Ok(Request::from_parts(
        head,
        Upload {
            body,
            traffic: Arc::clone(traffic),
        },
    ))
}

/// A body on its way from the pack to a server. Trailers are left out.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    traffic: Arc<Traffic>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            if let Ok(data) = frame.into_data() {
                self.traffic.took(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A reply whose body is still to come, and the connection it comes over.
#[derive(Debug)]
pub(crate) struct Exchanged {
    pub(crate) line: Line,
    pub(crate) response: Response<Incoming>,
}

/// Sends the request over the connection that waited, or over a fresh one where there is none or it has gone stale
/// before it took the request. Waits for the reply's head as long as the request's body moves, and `patience` beyond it.
pub(crate) async fn exchange(
    ask: &NetworkAsk,
    kept: Option<Line>,
    fresh: impl AsyncFnOnce() -> Result<Line, FetchError>,
    request: Request<Upload>,
    traffic: &Traffic,
    patience: Duration,
) -> Result<Exchanged, FetchError> {
    let exchange = Exchange::with(ask);
    let mut request = request;
    if let Some(mut line) = kept {
        match await_head(ask, &mut line, request, traffic, patience).await? {
            Ok(response) => return exchange.accept(line, response),
            Err(mut stale) => match stale.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(exchange.broken(stale.into_error())),
            },
        }
    }
    let mut line = fresh().await?;
    match await_head(ask, &mut line, request, traffic, patience).await? {
        Ok(response) => exchange.accept(line, response),
        Err(failed) => Err(exchange.broken(failed.into_error())),
    }
}

type Head = Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<Upload>>>;

async fn await_head(
    ask: &NetworkAsk,
    line: &mut Line,
    request: Request<Upload>,
    traffic: &Traffic,
    patience: Duration,
) -> Result<Head, FetchError> {
    let mut sending = pin!(line.sender.try_send_request(request));
    loop {
        let before = traffic.pack_sent();
        match tokio::time::timeout(patience, &mut sending).await {
            Ok(head) => return Ok(head),
            Err(_) if traffic.pack_sent() != before => {}
            Err(_) => {
                return Err(FetchError::Timeout {
                    authority: ask.authority(),
                });
            }
        }
    }
}

impl Exchange {
    fn accept(&self, line: Line, response: Response<Incoming>) -> Result<Exchanged, FetchError> {
        self.check(response.status(), response.headers())?;
        Ok(Exchanged { line, response })
    }
}

impl Line {
    /// Whether the connection takes another request; waits until that is clear.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }
}

/// Whether the connection may serve another request after this one. Some authentication schemes log a whole connection in,
/// and a server that does not read the body of a `GET` takes it for the next request.
pub(crate) fn is_reusable(ask: &NetworkAsk, headers: &HeaderMap, body: &Incoming) -> bool {
    let bodiless = matches!(ask.method().as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE");
    if bodiless && !body.is_end_stream() {
        return false;
    }
    let by_request = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        let scheme = scheme.unwrap_or_default();
        [b"basic".as_slice(), b"bearer", b"digest"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    };
    headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .all(by_request)
}

/// Asks the kernel to look after a peer that says nothing, so that one that is gone is noticed.
pub(crate) fn keep_alive(stream: &TcpStream) {
    if let Err(error) = rustix::net::sockopt::set_socket_keepalive(stream, true) {
        tracing::debug!(%error, "a tunnel has no keep-alive");
    }
}
