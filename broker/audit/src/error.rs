//! Why the log could not be opened, and why it takes no more records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::verify::Finding;

/// Why a log was not opened. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system said no.
    #[error(
        "cannot {action} `{path}`: {source}; check that the directory exists, belongs to root and has space left"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another process holds the log.
    #[error(
        "the audit log in `{dir}` is being written by another process; stop the other broker, or give this one a state directory of its own"
    )]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// An option is out of range.
    #[error("{what}")]
    BadOption {
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The signing key is unusable.
    #[error("the signing key `{path}` cannot be used: {what}")]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// Records that were signed are gone.
    #[error(
        "the audit log in `{dir}` is shorter than its checkpoint: {have} records are there, {signed} were signed; restore the missing segments from a backup, or keep the directory as evidence by moving it away, and start with an empty one"
    )]
    Shorter {
        /// The log's directory.
        dir: PathBuf,
        /// Records found.
        have: u64,
        /// Records signed.
        signed: u64,
    },
    /// The checkpoint is missing, malformed or not ours.
    #[error(
        "the checkpoint `{path}` cannot be trusted: {what}; restore it and its key from a backup, or keep the directory as evidence by moving it away, and start with an empty one"
    )]
    Checkpoint {
        /// The checkpoint file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A record does not verify.
    #[error(
        "the audit log does not verify: {0}; `packctl audit verify` says more; keep the directory as evidence by moving it away, and start with an empty one"
    )]
    Corrupt(Finding),
    /// The log broke while it was being opened.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The record was not written, and nothing may be done on the strength of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// Something failed, and the log takes no more records until the broker is started again.
    #[error("the audit log takes no more records: {0}; mend the cause and start the broker again")]
    Failed(Arc<Failure>),
    /// The log was closed because the broker is shutting down.
    #[error("the audit log is closed; the broker is shutting down")]
    Closed,
}

/// What broke the log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A system call failed. Never retried: after a failed fsync nobody knows what is on the disk.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Somebody else changed the file.
    #[error("`{path}` was {what} under the broker")]
    Tampered {
        /// The segment.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// A thread died in the middle of a record.
    #[error("a thread panicked while it wrote a record")]
    Poisoned,
    /// No random numbers for an id.
    #[error("the system gave no random bytes")]
    NoRandom,
}
