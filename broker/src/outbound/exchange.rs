//! One request and its reply on one connection, which is not used again.

use std::error::Error as StdError;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rumi_policy::NetworkAsk;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    fetch::{FetchError, Reply},
    metered::Overrun,
};

/// A reply's headers, and likewise its trailers.
pub(super) const MAX_REPLY_HEADERS: usize = 128;
pub(super) const MAX_REPLY_HEAD: usize = 64 * 1024;
/// Headers that describe the connection, which ends here, or the framing, which is undone here.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One side of the conversation: whom it is with, and how much is taken.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) authority: String,
    pub(super) limit: u64,
}

impl Exchange {
    /// For a reply that is passed on rather than gathered, without a limit of its own.
    pub(super) fn with(ask: &NetworkAsk) -> Self {
        Self {
            authority: ask.authority(),
            limit: u64::MAX,
        }
    }

    pub(super) async fn over<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MAX_REPLY_HEADERS)
            .max_header_size(MAX_REPLY_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        let talk = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| self.broken(error))?;
            self.gather(response).await
        };
        let mut talk = std::pin::pin!(talk);
        let mut connection = std::pin::pin!(connection);
        // The connection is driven here rather than in a task, so that both end together.
        tokio::select! {
            biased;
            reply = &mut talk => reply,
            _ended = &mut connection => talk.await,
        }
    }

    async fn gather(&self, response: Response<Incoming>) -> Result<Reply, FetchError> {
        let (head, mut body) = response.into_parts();
        self.check(head.status, &head.headers)?;
        if body.size_hint().lower() > self.limit {
            return Err(self.too_large());
        }
        let mut gathered = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(error))?;
            // Trailers come after everything that could have been decided by them.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let size = gathered.len().saturating_add(data.len());
            if size as u64 > self.limit {
                return Err(self.too_large());
            }
            gathered.extend_from_slice(&data);
        }
        Ok(Reply {
            status: head.status.as_u16(),
            headers: end_to_end(&head.headers),
            body: gathered.freeze(),
        })
    }

    pub(super) fn check(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), FetchError> {
        let invalid = |why| {
            Err(FetchError::Invalid {
                authority: self.authority.clone(),
                why,
            })
        };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return invalid("it switches protocols without being asked to");
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if headers.contains_key(header::CONTENT_LENGTH) {
                return invalid("it has both `content-length` and `transfer-encoding`");
            }
            let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
            if !matches!(codings.as_slice(), [only] if only.as_bytes().eq_ignore_ascii_case(b"chunked"))
            {
                return invalid("its `transfer-encoding` is other than `chunked`");
            }
        }
        Ok(())
    }

    fn too_large(&self) -> FetchError {
        FetchError::TooLarge {
            authority: self.authority.clone(),
            limit: self.limit,
        }
    }

    pub(super) fn broken(&self, source: hyper::Error) -> FetchError {
        if overran(&source) {
            return self.too_large();
        }
        let authority = self.authority.clone();
        if source.is_parse_too_large() {
            return FetchError::HeadTooLarge { authority };
        }
        FetchError::Broken { authority, source }
    }
}

/// Whether the limit on the wire is what ended the connection; it is wrapped in the errors of every layer above.
fn overran(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(current) = next {
        let inner = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<Overrun>()) {
            return true;
        }
        next = match inner {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    false
}

/// The headers that are meant for the one who asked, less those that the reply's own `connection` names.
fn end_to_end(headers: &HeaderMap) -> Vec<(String, String)> {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| {
            text(value)
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .collect::<Vec<_>>()
        })
        .collect();
    headers
        .iter()
        .filter(|(name, _)| {
            !HOP_BY_HOP.contains(&name.as_str())
                && !named.iter().any(|other| other == name.as_str())
        })
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

/// Each byte becomes the character of the same number, so that nothing is lost and the text is valid.
fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}
