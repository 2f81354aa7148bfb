//! The other end of `Upgrade: rumi-terminal`, frame by frame.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::Peer;

/// A command that runs, or was refused.
#[derive(Debug)]
pub struct Terminal {
    stream: UnixStream,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The command wrote this.
    Stdout(Vec<u8>),
    /// The command complained of this.
    Stderr(Vec<u8>),
    /// It has taken so much input.
    Taken(u64),
    /// It has ended.
    Exit(Value),
    /// It was refused, or failed.
    Refused(Value),
}

/// Everything until the end.
#[derive(Debug, Default)]
pub struct Told {
    /// All of its output.
    pub stdout: Vec<u8>,
    /// All of its complaints.
    pub stderr: Vec<u8>,
    /// Its end, or an empty value.
    pub exit: Value,
    /// Its refusal, or an empty value.
    pub refused: Value,
}

impl Told {
    /// Output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    /// The reason of a refusal.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.refused["details"][0]["debug"]["reason"]
            .as_str()
            .unwrap_or("")
    }
    /// Why the command ended; `exited` is left out on the wire.
    #[must_use]
    pub fn stopped(&self) -> &str {
        self.exit["stoppedReason"]
            .as_str()
            .map_or("", |reason| reason.trim_start_matches("STOPPED_REASON_"))
    }
    /// The exit code; 0 is left out on the wire.
    #[must_use]
    pub fn code(&self) -> i64 {
        assert!(self.exit.is_object(), "{self:?}");
        self.exit["exitCode"].as_i64().unwrap_or(0)
    }
}

impl Terminal {
    /// Upgrades, and says what is to run.
    #[track_caller]
    pub fn start(peer: &Peer, start: &Value) -> Self {
        let mut terminal = Self::open(peer);
        terminal.send(b'S', start.to_string().as_bytes());
        terminal
    }

    /// Upgrades and says nothing yet.
    #[track_caller]
    pub fn open(peer: &Peer) -> Self {
        let mut stream = peer.connect().expect("a connection");
        stream
            .write_all(
                b"POST /rumi.v1.Capabilities/TerminalStream HTTP/1.1\r\nHost: localhost\r\n\
                  Connection: upgrade\r\nUpgrade: rumi-terminal\r\nContent-Length: 0\r\n\r\n",
            )
            .expect("write");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the head of a reply");
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self { stream }
    }

    /// One frame.
    #[track_caller]
    pub fn send(&mut self, kind: u8, content: &[u8]) {
        self.try_send(kind, content).expect("write");
    }

    /// One frame that may not be taken.
    ///
    /// # Errors
    /// When the broker is gone, or does not read for long.
    pub fn try_send(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut frame = vec![kind];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(content);
        self.stream.write_all(&frame)
    }

    /// The stream itself.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The next frame; none when the broker has ended its side.
    #[track_caller]
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 5];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            read => read.expect("a frame"),
        }
        let [kind, length @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut content).expect("a whole frame");
        let json = || serde_json::from_slice(&content).expect("JSON");
        Some(match kind {
            b'o' => Frame::Stdout(content),
            b'e' => Frame::Stderr(content),
            b't' => Frame::Taken(u64::from_be_bytes(content.try_into().expect("eight bytes"))),
            b'x' => Frame::Exit(json()),
            b'd' => Frame::Refused(json()),
            other => panic!("a frame of the kind {other}"),
        })
    }

    /// Reads output until it contains a text.
    #[track_caller]
    pub fn read_until(&mut self, part: &str) -> String {
        let begun = Instant::now();
        let mut seen = String::new();
        while !seen.contains(part) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{part}: {seen}");
            match self.frame() {
                Some(Frame::Stdout(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                Some(Frame::Taken(_)) => {}
                other => panic!("{part} did not come: {seen:?} {other:?}"),
            }
        }
        seen
    }

    /// Everything to the end.
    #[track_caller]
    pub fn rest(mut self) -> Told {
        let mut told = Told::default();
        while let Some(frame) = self.frame() {
            match frame {
                Frame::Stdout(bytes) => told.stdout.extend(bytes),
                Frame::Stderr(bytes) => told.stderr.extend(bytes),
                Frame::Taken(_) => {}
                Frame::Exit(exit) => told.exit = exit,
                Frame::Refused(refused) => told.refused = refused,
            }
        }
        told
    }
}
