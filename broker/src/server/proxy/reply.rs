//! Refusals as unmodified software shows them: many programs print a reply's reason phrase, some its body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use rumi_policy::Reason;

use crate::{
    refusal::{Failure, Refusal},
    server::route::{Body, boxed},
};

/// Longest reason phrase; clients read a status line into buffers of their own.
const MAX_PHRASE: usize = 300;

/// The reply to a request that was refused, or failed outside.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let (status, code, record) = match refusal {
        Refusal::Denied { reason, record, .. } => {
            (denied(*reason), reason.as_str(), record.as_str())
        }
        Refusal::Failed { code, .. } => (failed(*code), code.as_str(), ""),
    };
    let sentence = refusal.to_string();
    let text = if record.is_empty() {
        format!("{sentence} ({code})\n")
    } else {
        format!("{sentence} ({code}, record {record})\n")
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    for (name, value) in [("rumi-reason", code), ("rumi-record", record)] {
        if let Ok(value) = HeaderValue::from_str(value)
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(phrase) = phrase(status, code, &sentence) {
        response.extensions_mut().insert(phrase);
    }
    boxed(response)
}

/// The same for a request whose end is in doubt: nothing more is read from the connection.
pub(super) fn last(why: &Refusal) -> Response<Body> {
    let mut response = refusal(why);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// `requests` and `pip` show nothing of a refused tunnel but this.
fn phrase(status: StatusCode, code: &str, sentence: &str) -> Option<ReasonPhrase> {
    let usual = status.canonical_reason().unwrap_or("Refused");
    let text = format!("{usual} ({code}: {sentence})");
    let visible = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let text: String = text.chars().take(MAX_PHRASE).map(visible).collect();
    ReasonPhrase::try_from(text).ok()
}

fn denied(reason: Reason) -> StatusCode {
    match reason {
        Reason::BadRequest => StatusCode::BAD_REQUEST,
        Reason::AuditUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Quota | Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    }
}

fn failed(code: Failure) -> StatusCode {
    match code {
        Failure::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Failure::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    }
}
