//! `GET` and `PUT /files`: plain bodies, for what is too large for a message.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use rumi_proto::v1;
use tonic::Status;

use super::{
    connect,
    metered::Metered,
    route::{Body, boxed},
};
use crate::capabilities::{Connection, ended_early};

/// Streams a file, or a range of it.
pub(super) async fn download(connection: &Connection, query: &str) -> Response<Body> {
    match begin_download(connection, query).await {
        Ok(response) => response,
        Err(status) => boxed(connect::error(&status)),
    }
}

async fn begin_download(connection: &Connection, query: &str) -> Result<Response<Body>, Status> {
    let mut parameters = parse(query, &["path", "offset", "length"])?;
    let request = v1::FileReadRequest {
        path: parameters.remove("path").unwrap_or_default(),
        offset: number(&parameters, "offset")?,
        length: number(&parameters, "length")?,
    };
    let download = connection.download(request).await?;
    let start = download.start;
    let body = StreamBody::new(download.into_bytes().map(|chunk| chunk.map(Frame::data)));
    let mut response = boxed(Response::new(body));
    let headers = response.headers_mut();
    set_number(headers, header::CONTENT_LENGTH, start.length);
    set_number(
        headers,
        header::HeaderName::from_static("rumi-file-size"),
        start.size,
    );
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

/// Takes in a file.
pub(super) async fn upload(connection: &Connection, request: Request<Metered>) -> Response<Body> {
    match take_upload(connection, request).await {
        Ok(json) => boxed(connect::reply(StatusCode::OK, json)),
        Err(status) => boxed(connect::error(&status)),
    }
}

async fn take_upload(connection: &Connection, request: Request<Metered>) -> Result<Bytes, Status> {
    let mut parameters = parse(request.uri().query().unwrap_or(""), &["path", "mode"])?;
    let path = parameters.remove("path").unwrap_or_default();
    let create = match parameters.get("mode").map(String::as_str) {
        None | Some("replace") => false,
        Some("create") => true,
        Some(other) => {
            return Err(Status::invalid_argument(format!(
                "`{}` is no mode of an upload; it is `replace` or `create`, appending goes by FileWrite",
                other.escape_debug()
            )));
        }
    };
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let body = request.into_body().into_data_stream();
    let body = body.map(|frame| frame.map_err(|_| ended_early()));
    let written = connection.upload(&path, create, length, body).await?;
    serde_json::to_vec(&written)
        .map(Bytes::from)
        .map_err(|error| Status::internal(error.to_string()))
}

fn set_number(headers: &mut HeaderMap, name: header::HeaderName, number: u64) {
    headers.insert(name, header::HeaderValue::from(number));
}

/// Parses a query; an unknown or repeated parameter is refused, not ignored.
fn parse(query: &str, known: &[&str]) -> Result<HashMap<String, String>, Status> {
    let mut parameters = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            return Err(Status::invalid_argument(format!(
                "`{}` is no parameter; known are {}",
                name.escape_debug(),
                known.join(", ")
            )));
        }
        if parameters
            .insert(name.to_owned(), unescape(value)?)
            .is_some()
        {
            return Err(Status::invalid_argument(format!("`{name}` is given twice")));
        }
    }
    Ok(parameters)
}

fn number(parameters: &HashMap<String, String>, name: &str) -> Result<u64, Status> {
    match parameters.get(name).map(String::as_str) {
        None | Some("") => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| Status::invalid_argument(format!("`{name}` is no number of bytes"))),
    }
}

/// Undoes percent-encoding (RFC 3986), exactly once.
fn unescape(text: &str) -> Result<String, Status> {
    let malformed = || Status::invalid_argument("a parameter is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
        rest = tail;
        let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::{parse, unescape};

    #[test]
    fn percent_codes_are_undone_exactly_once() {
        for (text, meant) in [
            ("/a%20b", Some("/a b")),
            ("%252e%252e", Some("%2e%2e")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(unescape(text).ok().as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert!(parse("path=/a&offset=1", &["path", "offset"]).is_ok());
        assert!(parse("path=/a&path=/b", &["path"]).is_err());
        assert!(parse("path=/a&x=1", &["path"]).is_err());
    }
}
