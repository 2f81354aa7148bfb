//! What comes out of a command, passed on up to its bound and at the pace of its reader.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};

use super::{Output, Stopped};

/// How long the last output may take to arrive after the command ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// What was passed on, and what still may be.
pub(super) struct Passing {
    to: mpsc::Sender<Output>,
    /// Bytes of either stream that may still pass.
    stdout: usize,
    stderr: usize,
    /// Told when the guest's first byte comes; none is expected where this is none.
    ready: Option<watch::Sender<bool>>,
    pub(super) bytes: u64,
    pub(super) truncated: bool,
}

impl Passing {
    pub(super) fn new(
        to: mpsc::Sender<Output>,
        bound: usize,
        ready: Option<watch::Sender<bool>>,
    ) -> Self {
        Self {
            to,
            stdout: bound,
            stderr: bound,
            ready,
            bytes: 0,
            truncated: false,
        }
    }

    /// Passes output on until the command has ended and its output too, which can lag a little. A
    /// command that closes its output and goes on is waited for.
    pub(super) async fn run(
        &mut self,
        output: impl Stream<Item = Output>,
        exit: impl Future<Output = ()>,
    ) -> Option<Stopped> {
        tokio::pin!(output, exit);
        let lag = tokio::time::sleep(OUTPUT_GRACE);
        tokio::pin!(lag);
        let (mut exited, mut silent) = (false, false);
        while !(exited && silent) {
            tokio::select! {
                piece = output.next(), if !silent => match piece {
                    Some(piece) => {
                        if let Err(stopped) = self.pass(piece).await {
                            return Some(stopped);
                        }
                        // A slow reader is no lag.
                        lag.as_mut().reset(tokio::time::Instant::now() + OUTPUT_GRACE);
                    }
                    None => silent = true,
                },
                () = &mut exit, if !exited => {
                    exited = true;
                    lag.as_mut().reset(tokio::time::Instant::now() + OUTPUT_GRACE);
                }
                () = &mut lag, if exited => return None,
            }
        }
        None
    }

    async fn pass(&mut self, piece: Output) -> Result<(), Stopped> {
        let (mut bytes, error) = match piece {
            Output::Stdout(bytes) => (bytes, false),
            Output::Stderr(bytes) => (bytes, true),
        };
        if !error && let Some(ready) = self.ready.take() {
            // The guest's own, before the command was started.
            ready.send_replace(true);
            bytes = bytes.slice(1.min(bytes.len())..);
        }
        let room = if error {
            &mut self.stderr
        } else {
            &mut self.stdout
        };
        let fits = bytes.len().min(*room);
        *room -= fits;
        let surplus = bytes.len() > fits;
        let fitting: Bytes = bytes.slice(..fits);
        if !fitting.is_empty() {
            let length = u64::try_from(fitting.len()).unwrap_or(u64::MAX);
            let piece = if error {
                Output::Stderr(fitting)
            } else {
                Output::Stdout(fitting)
            };
            let sent = self.to.send(piece).await;
            sent.map_err(|_| Stopped::Disconnected)?;
            self.bytes = self.bytes.saturating_add(length);
        }
        self.truncated |= surplus;
        if surplus {
            return Err(Stopped::OutputLimit);
        }
        Ok(())
    }
}
