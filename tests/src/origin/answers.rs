//! What the server says to which path.

use std::{convert::Infallible, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Frame, body::Incoming, header};
use ring::digest::{Context, SHA256};
use serde_json::json;
use tokio_stream::StreamExt as _;

use super::{git, websocket};
use crate::content;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) async fn answer(
    request: Request<Incoming>,
    files: &Path,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/git/") {
        return Ok(git::answer(request, files, &path).await);
    }
    Ok(match path.as_str() {
        "/hello" => full(StatusCode::OK, "hello\n"),
        "/echo" => full(StatusCode::CREATED, gathered(request).await),
        "/headers" => full(StatusCode::OK, headers(&request)),
        "/redirect" => redirect(request.uri().query().unwrap_or_default()),
        "/upload" => full(StatusCode::OK, measured(request).await),
        "/drip" => drip(),
        "/stall" => stall(),
        "/silent" => std::future::pending().await,
        "/ws" => websocket::answer(request),
        _ => match path.strip_prefix("/large/").map(str::parse) {
            Some(Ok(length)) => large(length),
            _ => file(files, &path),
        },
    })
}

pub(super) fn full(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response
}

pub(super) async fn gathered(request: Request<Incoming>) -> Bytes {
    let body = request.into_body().collect().await;
    body.map(|body| body.to_bytes()).unwrap_or_default()
}

fn headers(request: &Request<Incoming>) -> String {
    let of = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        (
            name.to_string(),
            json!(String::from_utf8_lossy(value.as_bytes())),
        )
    };
    let map: serde_json::Map<_, _> = request.headers().iter().map(of).collect();
    serde_json::Value::from(map).to_string()
}

fn redirect(query: &str) -> Response<Body> {
    let mut response = full(StatusCode::FOUND, "elsewhere\n");
    let to = query.strip_prefix("to=").and_then(|to| to.parse().ok());
    let to = to.unwrap_or(header::HeaderValue::from_static("/hello"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

fn large(length: u64) -> Response<Body> {
    let pieces = content::pieces(length).map(|piece| Ok(Frame::data(Bytes::from(piece))));
    let body = StreamBody::new(tokio_stream::iter(pieces));
    let mut response = Response::new(body.boxed_unsync());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    response
}

/// A little every few milliseconds, for as long as anybody reads.
fn drip() -> Response<Body> {
    let drops = tokio_stream::iter(std::iter::repeat(Bytes::from_static(&[b'x'; 4096])));
    let drops = drops.throttle(Duration::from_millis(20));
    Response::new(StreamBody::new(drops.map(|drop| Ok(Frame::data(drop)))).boxed_unsync())
}

/// A beginning, and then nothing more.
fn stall() -> Response<Body> {
    let first = tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"x"))));
    Response::new(StreamBody::new(first.chain(tokio_stream::pending())).boxed_unsync())
}

/// Length and SHA-256 of a body that is never held as a whole.
async fn measured(request: Request<Incoming>) -> String {
    let (mut digest, mut length) = (Context::new(&SHA256), 0);
    let mut body = request.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            digest.update(&data);
            length += data.len();
        }
    }
    json!({"bytes": length, "sha256": content::hex(digest)}).to_string()
}

/// A file below the directory; a directory's is its `index.html`.
fn file(files: &Path, path: &str) -> Response<Body> {
    let name = path.trim_start_matches('/');
    let name = if path.ends_with('/') {
        format!("{name}index.html")
    } else {
        name.to_owned()
    };
    let found = if name.contains("..") {
        None
    } else {
        std::fs::read(files.join(&name)).ok()
    };
    let Some(content) = found else {
        return full(StatusCode::NOT_FOUND, "nothing here\n");
    };
    let mut response = full(StatusCode::OK, content);
    let kind = if name.ends_with(".html") {
        "text/html"
    } else {
        "application/octet-stream"
    };
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
