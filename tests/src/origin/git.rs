//! Git's own server program, `git http-backend`, which speaks CGI (RFC 3875).

use std::{path::Path, process::Stdio};

use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderName};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::answers::{Body, full, gathered};

pub(super) async fn answer(request: Request<Incoming>, files: &Path, path: &str) -> Response<Body> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", files)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("REQUEST_METHOD", request.method().as_str())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env(
            "HTTP_CONTENT_ENCODING",
            header("content-encoding").unwrap_or_default(),
        )
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let body = gathered(request).await;
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.spawn().expect("git");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The program may end without having read everything.
    stdin.write_all(&body).await.ok();
    drop(stdin);
    let ended = child.wait_with_output().await.expect("git");
    response(&ended.stdout)
}

/// Headers, an empty line, the body.
fn response(output: &[u8]) -> Response<Body> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return full(StatusCode::BAD_GATEWAY, "git gave no answer\n");
    };
    let (head, body) = output.split_at(end + 4);
    let mut response = full(StatusCode::OK, body.to_vec());
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "Status" {
            let code = value.get(..3).and_then(|code| code.parse().ok());
            *response.status_mut() = code.unwrap_or(StatusCode::BAD_GATEWAY);
        } else if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
