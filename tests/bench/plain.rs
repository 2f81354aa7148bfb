//! The ways of a component without gRPC: JSON requests and plain bodies over HTTP/1.1.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use crate::failure::Failure;

/// Whole requests of HTTP in which nothing else is as it should be.
const NONSENSE: [(&str, &str, &str); 8] = [
    ("POST", "/rumi.v1.Capabilities/FileRead", "{\"path\":"),
    (
        "POST",
        "/rumi.v1.Capabilities/FileRead",
        "{\"path\": [[[[[[[[[[[[7]]]]]]]]]]]]}",
    ),
    (
        "POST",
        "/rumi.v1.Capabilities/FileRead",
        "{\"path\": \"/a\", \"\u{1b}[2J\": 1}",
    ),
    (
        "POST",
        "/rumi.v1.Capabilities/NetworkFetch",
        "{\"method\": \"GET\", \"url\": 1e999}",
    ),
    ("POST", "/rumi.v1.Capabilities/NoSuch", "{}"),
    ("POST", "/rumi.v1.Capabilities/EnvRead", "\u{fffd}\u{0}"),
    ("GET", "/files?path=%zz&path=%00", ""),
    ("PUT", "/files?mode=sideways", ""),
];

/// As much as a keep-alive connection of the Python SDK.
#[derive(Debug)]
pub struct Plain {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Plain {
    /// Connects to a component's socket.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            stream: UnixStream::connect(path).map_err(Failure::file(path))?,
            buffer: vec![0; 1024 * 1024],
        })
    }

    /// Reads a small file as JSON; returns the length of the reply, which holds it as base64.
    pub fn read(&mut self, file: &Path) -> Result<usize, Failure> {
        let body = serde_json::json!({ "path": file }).to_string();
        let head = format!(
            "POST /rumi.v1.Capabilities/FileRead HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.exchange(&head)
    }

    /// Downloads a file as a plain body; its path needs no escaping. Returns its length.
    pub fn download(&mut self, file: &Path) -> Result<usize, Failure> {
        let head = format!(
            "GET /files?path={} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            file.display()
        );
        self.exchange(&head)
    }

    /// Uploads a file of so many bytes as a plain body; its path needs no escaping.
    pub fn upload(&mut self, file: &Path, bytes: usize) -> Result<(), Failure> {
        let socket = Failure::file("the component's socket");
        let head = format!(
            "PUT /files?path={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n",
            file.display()
        );
        let chunk = vec![b'x'; self.buffer.len()];
        let mut sent = || {
            self.stream.write_all(head.as_bytes())?;
            let mut left = bytes;
            while left > 0 {
                let part = chunk.get(..left).unwrap_or(&chunk);
                self.stream.write_all(part)?;
                left -= part.len();
            }
            Ok(())
        };
        sent().map_err(socket)?;
        self.exchange("").map(drop)
    }

    /// Sends one of the requests that make no sense; it must be refused and the connection go on.
    pub fn nonsense(&mut self, number: usize) -> Result<(), Failure> {
        let Some((method, path, body)) = NONSENSE.get(number % NONSENSE.len()) else {
            return Ok(());
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match self.answer(&head)? {
            (status, _) if status.starts_with("HTTP/1.1 200 ") => Err(Failure::Unexpected(status)),
            _ => Ok(()),
        }
    }

    fn exchange(&mut self, request: &str) -> Result<usize, Failure> {
        match self.answer(request)? {
            (status, length) if status.starts_with("HTTP/1.1 200 ") => Ok(length),
            (status, _) => Err(Failure::Unexpected(status)),
        }
    }

    /// The status line and the length of the body.
    fn answer(&mut self, request: &str) -> Result<(String, usize), Failure> {
        let socket = Failure::file("the component's socket");
        self.stream.write_all(request.as_bytes()).map_err(socket)?;
        let mut head = Vec::new();
        let begun = loop {
            let length = self.receive()?;
            head.extend_from_slice(self.buffer.get(..length).unwrap_or_default());
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break head.len() - end - 4;
            }
        };
        let head = String::from_utf8_lossy(&head);
        let head = head.split("\r\n\r\n").next().unwrap_or_default();
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let length = lines
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .find_map(|(_, value)| value.parse().ok());
        let length: usize =
            length.ok_or_else(|| Failure::Unexpected("a reply without a length".to_owned()))?;
        let mut received = begun;
        while received < length {
            received += self.receive()?;
        }
        let status = head.lines().next().unwrap_or_default();
        Ok((status.to_owned(), received))
    }

    fn receive(&mut self) -> Result<usize, Failure> {
        let socket = Failure::file("the component's socket");
        match self.stream.read(&mut self.buffer).map_err(socket)? {
            0 => Err(Failure::Unexpected("a reply ended early".to_owned())),
            length => Ok(length),
        }
    }
}
