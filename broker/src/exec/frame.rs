//! What is said to the process that keeps a run, and what it says (`docker/guest/src/code.rs`).

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::program::Program;

/// Longest frame that the guest sends; its own pieces are of 64 KiB.
const LONGEST: usize = 1024 * 1024;
/// Pieces that input is sent in.
const PIECE: usize = 256 * 1024;

/// Why the process cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It, or its container, is gone.
    #[error("the connection ended")]
    Closed(#[source] std::io::Error),
    /// It does not speak as the guest does.
    #[error("what came is no frame of the guest's")]
    Nonsense,
}

/// What the process says.
#[derive(Debug)]
pub(super) enum Said {
    Stdout(Bytes),
    Stderr(Bytes),
    /// A file's name; its content follows.
    File(String),
    Data(Bytes),
    Failed(String),
    End(End),
}

/// How a command ended, or how many files were left out.
#[derive(Debug, Default, Deserialize)]
pub(super) struct End {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    #[serde(default)]
    pub(super) left_out: u32,
}

/// Which files are wanted.
#[derive(Debug, Serialize)]
pub(super) struct Wanted {
    pub(super) directory: &'static str,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

pub(super) async fn file<W: AsyncWrite + Unpin>(
    stream: &mut W,
    name: &str,
    content: &[u8],
) -> Result<(), FrameError> {
    let mut head = BytesMut::with_capacity(name.len() + 7);
    head.put_u8(b'F');
    head.put_u32(length(name.len() + content.len() + 2)?);
    head.put_u16(u16::try_from(name.len()).map_err(|_| FrameError::Nonsense)?);
    head.put_slice(name.as_bytes());
    stream.write_all(&head).await.map_err(FrameError::Closed)?;
    stream.write_all(content).await.map_err(FrameError::Closed)
}

pub(super) async fn start<W: AsyncWrite + Unpin>(
    stream: &mut W,
    program: &Program,
) -> Result<(), FrameError> {
    let text = serde_json::to_vec(program).map_err(|_| FrameError::Nonsense)?;
    frame(stream, b'S', &text).await
}

/// Has it started ahead of the file that it runs, for which it then waits.
pub(super) async fn ahead<W: AsyncWrite + Unpin>(
    stream: &mut W,
    program: &Program,
) -> Result<(), FrameError> {
    let text = serde_json::to_vec(program).map_err(|_| FrameError::Nonsense)?;
    frame(stream, b'A', &text).await
}

/// Gives the file to what was started ahead.
pub(super) async fn go_on<W: AsyncWrite + Unpin>(stream: &mut W) -> Result<(), FrameError> {
    frame(stream, b'G', &[]).await
}

/// All of a command's input, and its end.
pub(super) async fn input<W: AsyncWrite + Unpin>(
    stream: &mut W,
    input: &[u8],
) -> Result<(), FrameError> {
    part(stream, input).await?;
    frame(stream, b'E', &[]).await
}

/// Some of a command's input.
pub(super) async fn part<W: AsyncWrite + Unpin>(
    stream: &mut W,
    input: &[u8],
) -> Result<(), FrameError> {
    for piece in input.chunks(PIECE) {
        frame(stream, b'I', piece).await?;
    }
    Ok(())
}

pub(super) async fn collect<W: AsyncWrite + Unpin>(
    stream: &mut W,
    wanted: &Wanted,
) -> Result<(), FrameError> {
    let text = serde_json::to_vec(wanted).map_err(|_| FrameError::Nonsense)?;
    frame(stream, b'C', &text).await
}

async fn frame<W: AsyncWrite + Unpin>(
    stream: &mut W,
    kind: u8,
    content: &[u8],
) -> Result<(), FrameError> {
    let mut frame = BytesMut::with_capacity(content.len() + 5);
    frame.put_u8(kind);
    frame.put_u32(length(content.len())?);
    frame.put_slice(content);
    stream.write_all(&frame).await.map_err(FrameError::Closed)
}

fn length(length: usize) -> Result<u32, FrameError> {
    u32::try_from(length).map_err(|_| FrameError::Nonsense)
}

pub(super) async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Said, FrameError> {
    let kind = stream.read_u8().await.map_err(FrameError::Closed)?;
    let length = stream.read_u32().await.map_err(FrameError::Closed)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(FrameError::Nonsense);
    }
    let mut content = vec![0; length];
    stream
        .read_exact(&mut content)
        .await
        .map_err(FrameError::Closed)?;
    let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
    Ok(match kind {
        b'o' => Said::Stdout(content.into()),
        b'e' => Said::Stderr(content.into()),
        b'f' => Said::File(text(&content)),
        b'd' => Said::Data(content.into()),
        b'w' => Said::Failed(text(&content)),
        b'x' => Said::End(serde_json::from_slice(&content).map_err(|_| FrameError::Nonsense)?),
        _ => return Err(FrameError::Nonsense),
    })
}
