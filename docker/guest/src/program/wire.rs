//! The connection to the broker: one upgrade, then frames (docs/terminal-stream.md).

use std::{
    io::{self, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::ProgramError;

/// Input that may be under way. More would make signals wait behind what the command does not read.
const AHEAD: u64 = 256 * 1024;
/// Longest frame and longest head of a reply.
const LONGEST: usize = 4 << 20;

#[derive(Debug)]
pub(super) enum Said {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Taken,
    Exit(Value),
    Refused(Value),
}

pub(super) struct Wire {
    reader: Mutex<BufReader<UnixStream>>,
    writer: Mutex<UnixStream>,
    /// Bytes of input that were sent and that were taken.
    flow: Mutex<(u64, u64)>,
    moved: Condvar,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    pub(super) fn open(path: &Path) -> Result<Self, ProgramError> {
        let failed = |source| ProgramError::Connect {
            path: path.to_owned(),
            source,
        };
        let mut writer = UnixStream::connect(path).map_err(failed)?;
        writer
            .write_all(
                b"POST /rumi.v1.Capabilities/TerminalStream HTTP/1.1\r\nHost: localhost\r\n\
                  Connection: upgrade\r\nUpgrade: rumi-terminal\r\nContent-Length: 0\r\n\r\n",
            )
            .map_err(failed)?;
        let mut reader = BufReader::new(writer.try_clone().map_err(failed)?);
        let head = head(&mut reader).map_err(failed)?;
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(ProgramError::Answer(explain(&mut reader)));
        }
        Ok(Self {
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            flow: Mutex::new((0, 0)),
            moved: Condvar::new(),
        })
    }

    pub(super) fn send(&self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(content.len() + 5);
        frame.push(kind);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(content);
        held(&self.writer).write_all(&frame)
    }

    /// Input, once the command has taken most of what came before.
    pub(super) fn feed(&self, content: &[u8]) -> io::Result<()> {
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        {
            let mut flow = held(&self.flow);
            while flow.0.saturating_sub(flow.1) >= AHEAD {
                flow = self
                    .moved
                    .wait(flow)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            flow.0 = flow.0.saturating_add(length);
        }
        self.send(b'I', content)
    }

    pub(super) fn next(&self) -> io::Result<Said> {
        let mut reader = held(&self.reader);
        let mut head = [0; 5];
        reader.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = vec![0; length];
        reader.read_exact(&mut content)?;
        Ok(match kind {
            b'o' => Said::Stdout(content),
            b'e' => Said::Stderr(content),
            b't' => {
                let taken = content
                    .first_chunk()
                    .map(|bytes| u64::from_be_bytes(*bytes));
                held(&self.flow).1 = taken.unwrap_or(u64::MAX);
                self.moved.notify_all();
                Said::Taken
            }
            b'x' => Said::Exit(serde_json::from_slice(&content)?),
            b'd' => Said::Refused(serde_json::from_slice(&content)?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

fn head(reader: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        reader.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
        if head.len() > 64 * 1024 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// The message of a reply that is no upgrade, as far as it has come.
fn explain(reader: &mut BufReader<UnixStream>) -> String {
    let mut body = vec![0; 64 * 1024];
    let length = reader.read(&mut body).unwrap_or(0);
    let reply: Option<Value> = body
        .get(..length)
        .and_then(|body| serde_json::from_slice(body).ok());
    let message = reply.as_ref().and_then(|reply| reply.get("message"));
    message
        .and_then(Value::as_str)
        .unwrap_or("the broker does not know terminals; is it older than this container?")
        .to_owned()
}
