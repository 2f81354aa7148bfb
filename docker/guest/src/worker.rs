//! A component's worker: attached to the broker, it keeps a warm interpreter that
//! makes spares when the broker asks, and cleans up when the broker says so.

mod code;
mod descriptors;
mod interpreter;
mod kept;
mod lines;
pub(crate) mod notes;
mod runner;
mod service;
mod session;

use std::{io, time::Duration};

use nix::sys::signal::SigSet;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::task::LocalSet;

use crate::{arguments::WorkerOptions, backoff::Backoff, say};

use self::{descriptors::ReserveError, session::Worker};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("cannot hide the memory of this process")]
    Dumpable(#[source] rustix::io::Errno),
    #[error("cannot unblock signals")]
    Signals(#[source] nix::Error),
    #[error(transparent)]
    Descriptors(#[from] ReserveError),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// Serves one component until the process is killed.
pub(crate) fn run(options: WorkerOptions) -> Result<(), WorkerError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(WorkerError::Dumpable)?;
    // PID 1 blocks signals to read them, and a child inherits that.
    SigSet::empty()
        .thread_set_mask()
        .map_err(WorkerError::Signals)?;
    let descriptors = descriptors::Reserved::reserve()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(WorkerError::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        let mut worker = Worker::new(options, descriptors).await;
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
        let mut said = String::new();
        loop {
            let ended = worker.session().await;
            if ended.configured {
                backoff.reset();
                said.clear();
            }
            // A broker that is away for an hour is one line, not thousands.
            let why = say::chain(&ended.reason);
            if why != said {
                say::line(&why);
                said = why;
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    })
}
