//! The connection to the broker.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Longest frame that is held in memory as a whole, and longest head of a reply.
const LONGEST: usize = 4 << 20;

/// The way to the broker; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<Mutex<UnixStream>>);

/// The way back.
pub(super) struct Reader(BufReader<UnixStream>);

impl Wire {
    /// Connects as a spare.
    pub(super) fn open(socket: &Path) -> io::Result<(Self, Reader)> {
        let mut writer = UnixStream::connect(socket)?;
        writer.write_all(
            b"POST /rumi.v1.Worker/Spare HTTP/1.1\r\nHost: localhost\r\n\
              Connection: upgrade\r\nUpgrade: rumi-spare\r\nContent-Length: 0\r\n\r\n",
        )?;
        let mut reader = BufReader::new(writer.try_clone()?);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            reader.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
            if head.len() > 64 * 1024 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok((Self(Arc::new(Mutex::new(writer))), Reader(reader)))
    }

    /// Says that it is in its control group, and waits.
    pub(super) fn ready(&self) -> io::Result<()> {
        let text = br#"{"type":"ready"}"#;
        let mut frame = u32::try_from(text.len())
            .map_err(io::Error::other)?
            .to_be_bytes()
            .to_vec();
        frame.extend_from_slice(text);
        self.write(&frame)
    }

    pub(super) fn send(&self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(content.len() + 5);
        frame.push(kind);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(content);
        self.write(&frame)
    }

    pub(super) fn failed(&self, why: &dyn std::fmt::Display) -> io::Result<()> {
        self.send(b'w', why.to_string().as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(bytes)
    }
}

impl Reader {
    /// Waits for the broker's first word, which comes when this process is in its control group.
    pub(super) fn prepared(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        self.content(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))
            .map(drop)
    }

    /// The kind and the length of the next frame; nothing once the broker has no more to say.
    pub(super) fn head(&mut self) -> io::Result<Option<(u8, usize)>> {
        let mut kind = [0];
        if self.0.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        Ok(Some((kind[0], length)))
    }

    pub(super) fn content(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = vec![0; length];
        self.0.read_exact(&mut content)?;
        Ok(content)
    }

    /// Hands `length` bytes on, piece by piece.
    pub(super) fn pass(&mut self, mut length: usize, mut to: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while length > 0 {
            let most = length.min(buffer.len());
            let piece = buffer.get_mut(..most).unwrap_or_default();
            self.0.read_exact(piece)?;
            to(piece);
            length -= most;
        }
        Ok(())
    }
}
