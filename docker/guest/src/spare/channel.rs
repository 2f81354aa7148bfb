//! Frames between a spare and the broker: four bytes of length, big-endian, and JSON.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

/// Longest frame either side may send.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;
/// Longest head of an answer to the upgrade.
const HEAD: usize = 16 * 1024;
const UPGRADE: &[u8] = b"POST /rumi.v1.Worker/Spare HTTP/1.1\r\nHost: localhost\r\n\
    Connection: Upgrade\r\nUpgrade: rumi-spare\r\nContent-Length: 0\r\n\r\n";

#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error("cannot connect to `{0}`")]
    Connect(PathBuf, #[source] io::Error),
    #[error("the broker refused the spare: {0}")]
    Refused(String),
    #[error("the broker closed the connection")]
    Closed,
    #[error("cannot read or write")]
    Io(#[source] io::Error),
    #[error("a frame of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("a frame is not what the protocol says")]
    Malformed(#[source] serde_json::Error),
}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn connect(path: &Path) -> Result<Self, ChannelError> {
        let mut stream = UnixStream::connect(path)
            .map_err(|error| ChannelError::Connect(path.to_owned(), error))?;
        stream.write_all(UPGRADE)?;
        // Byte by byte: what follows the head are frames.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
            if head.len() > HEAD {
                return Err(ChannelError::Refused("its answer has no end".to_owned()));
            }
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let shown = String::from_utf8_lossy(first).chars().take(200).collect();
            return Err(ChannelError::Refused(shown));
        }
        Ok(Self(stream))
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ChannelError> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(ChannelError::TooLong(length));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        serde_json::from_slice(&body).map_err(ChannelError::Malformed)
    }

    pub(super) fn send(&mut self, payload: &[u8]) -> Result<(), ChannelError> {
        let length = u32::try_from(payload.len())
            .map_err(|_| ChannelError::TooLong(payload.len()))?
            .to_be_bytes();
        let mut frame = Vec::with_capacity(length.len() + payload.len());
        frame.extend_from_slice(&length);
        frame.extend_from_slice(payload);
        Ok(self.0.write_all(&frame)?)
    }

    /// The broker ends this process, or closes the connection.
    pub(super) fn wait_for_end(mut self) -> Result<(), ChannelError> {
        io::copy(&mut self.0, &mut io::sink())?;
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
