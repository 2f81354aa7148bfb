//! One run, from its files to the last of its processes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::{
    frame::{self, End, FrameError, Said},
    program::Program,
    report::Stopped,
    request::InputFile,
};
use crate::{
    container::{CallCgroup, Ended},
    vetting::Mask,
    workers::Keeper,
};

/// How often it is looked whether the run makes more processes than it may.
const LOOK: Duration = Duration::from_millis(100);

/// What goes into a run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) files: &'a [InputFile],
    pub(super) program: &'a Program,
    /// It was started ahead, and waits for its code.
    pub(super) ahead: bool,
    pub(super) stdin: &'a [u8],
    pub(super) time: Duration,
    pub(super) memory_bytes: u64,
    pub(super) pids: u64,
    pub(super) max_output: usize,
    /// Takes credentials out of what is said.
    pub(super) mask: &'a Mask,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) stopped: Option<Stopped>,
    /// Why there was no run.
    pub(super) error: Option<String>,
    pub(super) duration: Duration,
    pub(super) memory_peak: u64,
}

/// Runs it, and ends all of its processes, whatever happens.
pub(super) async fn attend(mut keeper: Keeper, run: Run<'_>) -> Came {
    let mut came = Came::default();
    let begun = Instant::now();
    let mut streams = Streams {
        masks: [run.mask.clone(), run.mask.clone()],
        room: run.max_output,
    };
    let stopped = within_bounds(&mut keeper, &run, &mut came, &mut streams).await;
    streams.end(&mut came, stopped.is_some());
    came.error = came.error.map(|error| run.mask.text(&error));
    came.duration = begun.elapsed();
    let (_, cgroup) = keeper.parts();
    let forks_refused = cgroup.map_or(0, CallCgroup::forks_refused);
    let ended = keeper.end().await;
    came.memory_peak = ended.and_then(|ended| ended.memory_peak).unwrap_or(0);
    came.stopped = reason(stopped, ended, forks_refused > 0, &came);
    came
}

/// Why it ended that way. A run that lost a process for want of memory, or could not make one, and did not succeed,
/// is told that first: all else follows from it.
fn reason(
    stopped: Option<Stopped>,
    ended: Option<Ended>,
    forks_refused: bool,
    came: &Came,
) -> Option<Stopped> {
    let succeeded = came.exit_code == Some(0);
    if ended.is_some_and(|ended| ended.out_of_memory) && !succeeded {
        return Some(Stopped::Memory);
    }
    if forks_refused && !succeeded && came.error.is_none() {
        return Some(Stopped::Pids);
    }
    stopped
}

async fn within_bounds(
    keeper: &mut Keeper,
    run: &Run<'_>,
    came: &mut Came,
    streams: &mut Streams,
) -> Option<Stopped> {
    let (stream, cgroup) = keeper.parts();
    let limited = cgroup.map(|cgroup| cgroup.limit(run.memory_bytes, run.pids));
    if let Some(Err(error)) = limited {
        tracing::error!(%error, "a run cannot be limited");
        came.error =
            Some("the limits of the run could not be set; the broker's log says why".into());
        return None;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let feeding = async {
        if let Err(error) = feed(&mut writer, run).await {
            // Whoever listens learns of the end as well.
            tracing::debug!(%error, "a run takes no more input");
        }
        std::future::pending::<()>().await;
    };
    let too_many = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if cgroup.is_some_and(|cgroup| cgroup.forks_refused() > 0) {
                return;
            }
        }
    };
    tokio::select! {
        stopped = listen(&mut reader, streams, came) => stopped,
        () = feeding => None,
        () = too_many => Some(Stopped::Pids),
        () = tokio::time::sleep(run.time) => Some(Stopped::Timeout),
    }
}

async fn feed<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut W,
    run: &Run<'_>,
) -> Result<(), FrameError> {
    for file in run.files {
        frame::file(writer, &file.name, &file.content).await?;
    }
    if run.ahead {
        frame::go_on(writer).await?;
    } else {
        frame::start(writer, run.program).await?;
    }
    frame::input(writer, run.stdin).await
}

/// Keeps what the run says, until it has ended or must be.
async fn listen<R: AsyncRead + Unpin>(
    reader: &mut R,
    streams: &mut Streams,
    came: &mut Came,
) -> Option<Stopped> {
    loop {
        let full = match frame::read(reader).await {
            Ok(Said::Stdout(bytes)) => streams.keep(0, &bytes, &mut came.stdout),
            Ok(Said::Stderr(bytes)) => streams.keep(1, &bytes, &mut came.stderr),
            Ok(Said::End(End { code, signal, .. })) => {
                came.exit_code = code;
                return signal.map(|_| Stopped::Killed);
            }
            Ok(Said::Failed(why)) => {
                came.error = Some(why.chars().take(1000).collect());
                return None;
            }
            // The process that keeps it was killed, or pretends to be another.
            Ok(Said::File(_) | Said::Data(_)) | Err(_) => return Some(Stopped::Killed),
        };
        if full {
            came.truncated = true;
            return Some(Stopped::Output);
        }
    }
}

/// Both streams of output, on their way to whoever asked.
struct Streams {
    masks: [Mask; 2],
    /// Bytes that may still come.
    room: usize,
}

impl Streams {
    /// Keeps a piece of one of them; whether that was more than there is room for.
    fn keep(&mut self, which: usize, bytes: &Bytes, kept: &mut Vec<u8>) -> bool {
        let fits = bytes.get(..self.room).unwrap_or(bytes);
        self.room = self.room.saturating_sub(fits.len());
        if let Some(mask) = self.masks.get_mut(which) {
            kept.extend(mask.feed(fits));
        }
        fits.len() < bytes.len()
    }

    /// What was held back. Of a stream that was cut, nothing is shown that a secret could begin with.
    fn end(&mut self, came: &mut Came, cut: bool) {
        let [stdout, stderr] = &mut self.masks;
        for (mask, kept) in [(stdout, &mut came.stdout), (stderr, &mut came.stderr)] {
            kept.extend(if cut { mask.cut() } else { mask.finish() });
        }
    }
}
