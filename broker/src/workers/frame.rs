//! The frames of a spare: four bytes of length, big-endian, then JSON.

use std::{collections::BTreeMap, fmt};

use super::spec::CommandStart;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest frame either side may send, in bytes.
pub(super) const MAX_FRAME: usize = 16 * 1024 * 1024;

/// What the broker tells a spare.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToSpare<'a> {
    /// The spare is in its cgroup now and may load foreign code.
    Prepare {
        entry: &'a str,
        /// The command line, where the guest keeps the program.
        #[serde(skip_serializing_if = "Option::is_none")]
        command: Option<&'a [String]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start: Option<CommandStart>,
        #[serde(skip_serializing_if = "Option::is_none")]
        working_dir: Option<&'a str>,
        env: BTreeMap<&'a str, &'a str>,
        component_id: &'a str,
        limits: SpareLimits,
    },
    /// The one call of its life.
    Call {
        invocation: &'a str,
        args: &'a RawValue,
    },
}

/// Limits that the spare keeps itself; those of the cgroup need no telling.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct SpareLimits {
    /// Bytes kept of stdout and of stderr.
    pub(super) output_bytes: u64,
    /// Open files.
    pub(super) nofile: u64,
}

/// The kinds of frame that a spare sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SpareSays {
    Ready,
    Broken,
    Result,
}

/// What a spare tells the broker, and may be a lie about itself. A struct and not an
/// enum, because a raw value does not survive the buffering of a tagged enum.
#[derive(Debug, Deserialize)]
pub(super) struct FromSpare {
    #[serde(rename = "type")]
    pub(super) says: SpareSays,
    pub(super) error: Option<ToolError>,
    pub(super) result: Option<Box<RawValue>>,
    /// How the program ended instead of answering, as the guest saw it.
    pub(super) stopped: Option<ProgramStopped>,
    #[serde(default)]
    pub(super) stdout: String,
    #[serde(default)]
    pub(super) stderr: String,
    #[serde(default)]
    pub(super) truncated: bool,
}

/// Why a program that the guest kept did not answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ProgramStopped {
    Crashed,
    /// It says that its own share of the memory was used up.
    Memory,
    /// It ended with an exit code other than 0.
    Exit,
}

/// An error as tools report it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolError {
    /// One sentence.
    pub message: String,
    /// The exception's type, or one of the broker's own: `timeout`, `memory`, `crashed`, …
    #[serde(rename = "type")]
    pub kind: String,
}

impl fmt::Display for ToolError {
    /// Short enough for a line, and as strange as the tool made it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        let whole = format!("{}: {}", self.kind, self.message);
        let shown: String = whole.chars().take(SHOWN).collect();
        f.write_str(&shown)
    }
}

/// Why a frame could not be passed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the connection ended")]
    Closed(#[source] std::io::Error),
    #[error("a frame of {0} bytes is larger than {MAX_FRAME}")]
    TooLong(usize),
    #[error("a frame is not what the protocol says: {0}")]
    Malformed(#[source] serde_json::Error),
}

pub(super) async fn write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    message: &ToSpare<'_>,
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Malformed)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let header = u32::try_from(length)
        .map_err(|_| FrameError::TooLong(length))?
        .to_be_bytes();
    if let Some(place) = frame.first_chunk_mut::<4>() {
        *place = header;
    }
    stream.write_all(&frame).await.map_err(FrameError::Closed)
}

pub(super) async fn read<R: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut R,
) -> Result<T, FrameError> {
    let mut header = [0; 4];
    stream
        .read_exact(&mut header)
        .await
        .map_err(FrameError::Closed)?;
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    // Grown as the bytes come, so that a length alone reserves nothing.
    let mut body = Vec::with_capacity(length.min(64 * 1024));
    let mut limited = stream.take(u64::try_from(length).unwrap_or(u64::MAX));
    limited
        .read_to_end(&mut body)
        .await
        .map_err(FrameError::Closed)?;
    if body.len() < length {
        return Err(FrameError::Closed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_slice(&body).map_err(FrameError::Malformed)
}
