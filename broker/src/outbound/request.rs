//! The confirmed request, written down as HTTP.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use rumi_policy::NetworkAsk;

use super::payload::Payload;

/// The request line names the path alone, so that the far end is told one host only: the judged one, in `host`.
pub(super) fn request(
    ask: &NetworkAsk,
    payload: Payload,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let (headers, body) = payload.into_parts();
    let method = Method::from_bytes(ask.method().as_str().as_bytes())?;
    let target = PathAndQuery::try_from(ask.path_and_query())?;
    let mut request = Request::builder()
        .method(&method)
        .uri(Uri::from(target))
        .body(Full::new(body.clone()))?;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(ask.authority())?;
    request.headers_mut().insert(header::HOST, host);
    request
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Without a length many servers refuse these methods, and an empty body alone would get none.
    if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}
