//! Just enough HTTP/1.1 to see every byte of a reply.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// A reply, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; shorter than announced where the broker cut it.
    pub body: Vec<u8>,
    /// Whether all that was announced has come.
    pub whole: bool,
}

impl Reply {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
    /// The JSON of a reply that is no error.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
    /// A field of bytes in the JSON of a reply that is no error.
    #[track_caller]
    pub fn bytes(&self, field: &str) -> Vec<u8> {
        let reply = self.ok();
        STANDARD
            .decode(reply[field].as_str().unwrap_or_default())
            .expect("base64")
    }
    /// The protocol's code of an error, e.g. `not_found`.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
    /// The reason code of a refusal; empty where it is none.
    #[track_caller]
    pub fn reason(&self) -> String {
        self.denial("reason")
    }
    /// The audit record of a refusal.
    #[track_caller]
    pub fn record(&self) -> String {
        self.denial("record")
    }
    fn denial(&self, field: &str) -> String {
        let json = self.json();
        let debug = json.pointer("/details/0/debug");
        let value = debug.and_then(|debug| debug[field].as_str());
        value.unwrap_or_default().to_owned()
    }
}

/// Sends one request and reads one reply.
pub(crate) fn exchange(
    mut stream: UnixStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if !body.is_empty() || method != "GET" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    // A refusal may come, and the connection end, before all of a body is sent.
    let sent = stream.write_all(body);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => {}
        // What had come before the end still counts.
        Err(error) if reply.is_empty() => return Err(sent.err().unwrap_or(error)),
        Err(_) => {}
    }
    stream.shutdown(Shutdown::Both).ok();
    parse(&reply).ok_or_else(|| {
        let text = String::from_utf8_lossy(&reply).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("no reply but `{text}`"))
    })
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = reply.split_at(end + 4);
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let (body, whole) = if header("transfer-encoding").is_some_and(|value| value == "chunked") {
        unchunk(body)
    } else {
        let announced = header("content-length").and_then(|value| value.parse::<usize>().ok());
        (
            body.to_vec(),
            announced.is_none_or(|length| length == body.len()),
        )
    };
    Some(Reply {
        status,
        body,
        whole,
        headers,
    })
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let (size, tail) = rest.split_at(end);
        let size = std::str::from_utf8(size)
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok());
        match (size, tail.get(2..)) {
            (Some(0), _) => return (body, true),
            (Some(size), Some(tail)) if tail.len() >= size + 2 => {
                let (chunk, after) = tail.split_at(size);
                body.extend_from_slice(chunk);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => return (body, false),
        }
    }
}
