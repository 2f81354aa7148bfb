//! The runner's two pipes must have the numbers 3 and 4 in it, and in the runner only.
//!
//! The standard library cannot place descriptors in a child without unsafe code between
//! fork and exec. So this process, which has one thread that starts programs, keeps both
//! numbers occupied and lends them to the pipes for the moment of a start.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{DupFlags, dup2, dup3},
};

const CONTROL: i32 = 3;
const REPORT: i32 = 4;

/// The reserved numbers; they lead nowhere while nothing is being started.
#[derive(Debug)]
pub(crate) struct Reserved {
    control: OwnedFd,
    report: OwnedFd,
    null: OwnedFd,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReserveError {
    #[error("cannot open `/dev/null`")]
    Null(#[source] io::Error),
    #[error("descriptors 3 and 4 are taken; start the worker with 0, 1 and 2 only")]
    Taken,
}

impl Reserved {
    /// Call this before anything else opens a descriptor.
    pub(crate) fn reserve() -> Result<Self, ReserveError> {
        let (mut control, mut report) = (None, None);
        let null = loop {
            let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| ReserveError::Null(error.into()))?;
            match null.as_raw_fd() {
                CONTROL => control = Some(null),
                REPORT => report = Some(null),
                _ => break null,
            }
        };
        match (control, report) {
            (Some(control), Some(report)) => Ok(Self {
                control,
                report,
                null,
            }),
            _ => Err(ReserveError::Taken),
        }
    }

    /// Runs `start` while the numbers lead to the pipes and are inherited by children.
    pub(crate) fn lend<R>(
        &mut self,
        control: &OwnedFd,
        report: &OwnedFd,
        start: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        dup2(control, &mut self.control)?;
        let started = dup2(report, &mut self.report)
            .map_err(io::Error::from)
            .and_then(|()| start());
        dup3(&self.null, &mut self.control, DupFlags::CLOEXEC)?;
        dup3(&self.null, &mut self.report, DupFlags::CLOEXEC)?;
        started
    }
}
