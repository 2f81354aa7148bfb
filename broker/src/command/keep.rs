//! A command from its start to its end, wherever it runs.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::Stream;
use tokio::{io::AsyncWrite, sync::watch};

use super::{Environment, Output, Stopped, Worker, feed::Feed, feed::Reach, passing::Passing};

/// The ends of a command that has just been started.
pub struct Ends<R, O, E> {
    /// Its input.
    pub writer: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its output.
    pub output: O,
    /// Resolves when it has ended.
    pub exit: E,
    /// Its signals.
    pub reach: R,
}

/// What it gets, and what it may.
pub struct Bounds {
    /// Written first, and answered by one byte, where the program is the guest that keeps a command.
    pub environment: Option<Environment>,
    /// Whether its input goes in frames, because the guest makes a terminal.
    pub framed: bool,
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes of stdout, and as many of stderr.
    pub max_output: usize,
}

/// How it went, as far as it was seen from here.
pub struct Kept {
    /// Why it must be ended, where it has not ended by itself.
    pub stopped: Option<Stopped>,
    /// Whether more was written than was passed on.
    pub truncated: bool,
    /// Bytes of input that it took.
    pub bytes_in: u64,
    /// Bytes of output that were passed on.
    pub bytes_out: u64,
    /// The last signal that its caller sent.
    signal: u8,
}

impl Kept {
    /// Why a command ended that has this code.
    pub fn reason(&self, exit_code: i64, out_of_memory: bool) -> Option<Stopped> {
        let by_signal = self.signal > 0 && exit_code == 128 + i64::from(self.signal);
        self.stopped
            .or(out_of_memory.then_some(Stopped::OutOfMemory))
            .or(by_signal.then_some(Stopped::Signal))
    }
}

/// Feeds it and passes on what it says, until it has ended or must be.
pub async fn keep<R: Reach>(
    ends: Ends<R, impl Stream<Item = Output>, impl Future<Output = ()>>,
    bounds: Bounds,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
) -> Kept {
    let guarded = bounds.environment.is_some();
    let (ready, listens) = watch::channel(!guarded);
    let signalled = Arc::new(AtomicU8::new(0));
    let taken = worker.taken.clone();
    let feed = Feed {
        reach: ends.reach,
        writer: ends.writer,
        environment: bounds.environment,
        framed: bounds.framed,
        input: worker.input,
        taken: worker.taken,
        ready: listens,
        signalled: Arc::clone(&signalled),
    };
    let feed = Aborted(tokio::spawn(feed.run()));
    let gone = worker.output.clone();
    let mut passing = Passing::new(worker.output, bounds.max_output, guarded.then_some(ready));
    let deadline = tokio::time::sleep(bounds.timeout);
    let stopped = tokio::select! {
        stopped = passing.run(ends.output, ends.exit) => stopped,
        () = deadline => Some(Stopped::Timeout),
        stopped = ending => Some(stopped),
        () = gone.closed() => Some(Stopped::Disconnected),
    };
    drop(feed);
    Kept {
        stopped,
        truncated: passing.truncated,
        bytes_in: *taken.borrow(),
        bytes_out: passing.bytes,
        signal: signalled.load(Ordering::Relaxed),
    }
}

/// A task that ends with whoever started it.
struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}
