//! One HTTP/1.1 request over a connection of its own, and its whole reply.
//!
//! No redirect is followed, no proxy variable is read, nothing is decompressed, and no connection is used
//! twice: what was judged is this one request.

use bytes::Bytes;
use rumi_policy::{Confirmed, Network, Scheme};
use tokio::time::Instant;

use super::{
    deadline,
    dial::{DialError, dial},
    exchange::{Exchange, MAX_REPLY_HEAD, MAX_REPLY_HEADERS},
    metered::Metered,
    payload::Payload,
    request::request,
    tls::{Tls, TlsError},
};

/// Chunks and TLS records add bytes around those of the body: three more to each is generous for servers that
/// send in small pieces, and on top come the handshake and the head.
const WIRE_BYTES_PER_BODY_BYTE: u64 = 4;
const WIRE_BYTES_BESIDES: u64 = 1024 * 1024;

/// What the caller allows one request; of this and the grant's own limits the smaller counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// When the reply must be complete.
    pub(crate) deadline: Instant,
    /// The largest body that is accepted.
    pub(crate) body_bytes: u64,
}

/// What the far end answered, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code, redirects included.
    pub(crate) status: u16,
    /// Names in lower case, values byte for byte as characters (ISO 8859-1), in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as sent; a content coding is not undone.
    pub(crate) body: Bytes,
}

/// Why there is no reply. The messages name the host that was asked for and never an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// There was no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There was no trusted connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The request cannot be written down as HTTP.
    #[error("the request cannot be sent; percent-encode what is unusual in its path")]
    Request(#[source] http::Error),
    /// The reply was not complete in time.
    #[error("`{authority}` sent no complete reply in time; allow more time or ask for less")]
    Timeout {
        /// Host and port.
        authority: String,
    },
    /// The reply's body is larger than allowed.
    #[error(
        "the reply of `{authority}` is larger than {limit} bytes; ask for less, e.g. with a `range` header"
    )]
    TooLarge {
        /// Host and port.
        authority: String,
        /// Bytes of body allowed.
        limit: u64,
    },
    /// The reply's headers are too many or too long.
    #[error(
        "the reply of `{authority}` has more than {MAX_REPLY_HEADERS} headers or {MAX_REPLY_HEAD} bytes of them"
    )]
    HeadTooLarge {
        /// Host and port.
        authority: String,
    },
    /// The reply says in two ways where it ends, or switches to a protocol nobody asked for.
    #[error("the reply of `{authority}` is not valid HTTP: {why}")]
    Invalid {
        /// Host and port.
        authority: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("`{authority}` sent no complete HTTP reply: {source}; try again later")]
    Broken {
        /// Host and port.
        authority: String,
        /// From the HTTP library.
        source: hyper::Error,
    },
}

/// The classes of failure that a caller can act upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchFailure {
    /// It took longer than it may.
    Timeout,
    /// More came than is accepted.
    TooLarge,
    /// The far end did not do its part.
    Unavailable,
}

impl FetchError {
    /// The class of this failure.
    pub(crate) fn kind(&self) -> FetchFailure {
        match self {
            Self::Timeout { .. } | Self::Dial(DialError::Timeout { .. }) => FetchFailure::Timeout,
            Self::TooLarge { .. } | Self::HeadTooLarge { .. } => FetchFailure::TooLarge,
            Self::Dial(_)
            | Self::Tls(_)
            | Self::Request(_)
            | Self::Invalid { .. }
            | Self::Broken { .. } => FetchFailure::Unavailable,
        }
    }
}

/// Sends the confirmed request and gathers its reply. Dropping the future closes the connection; there is no
/// task behind it.
pub(crate) async fn fetch(
    tls: &Tls,
    confirmed: &Confirmed<Network>,
    payload: Payload,
    limits: Limits,
) -> Result<Reply, FetchError> {
    let limits = Limits {
        deadline: deadline::earlier(confirmed, limits.deadline),
        body_bytes: limits
            .body_bytes
            .min(confirmed.terms().max_response_bytes()),
    };
    deadline::before(limits.deadline, attempt(tls, confirmed, payload, limits))
        .await
        .map_err(|_passed| FetchError::Timeout {
            authority: confirmed.ask().authority(),
        })?
}

async fn attempt(
    tls: &Tls,
    confirmed: &Confirmed<Network>,
    payload: Payload,
    limits: Limits,
) -> Result<Reply, FetchError> {
    let ask = confirmed.ask();
    let request = request(ask, payload).map_err(FetchError::Request)?;
    let stream = dial(confirmed.facts(), limits.deadline).await?;
    let wire_limit = limits
        .body_bytes
        .saturating_mul(WIRE_BYTES_PER_BODY_BYTE)
        .saturating_add(WIRE_BYTES_BESIDES);
    let stream = Metered::new(stream, wire_limit);
    let exchange = Exchange {
        authority: ask.authority(),
        limit: limits.body_bytes,
    };
    match ask.scheme() {
        Scheme::Http => exchange.over(stream, request).await,
        Scheme::Https => {
            let stream = tls.connect(ask.host(), stream).await?;
            exchange.over(stream, request).await
        }
    }
}
