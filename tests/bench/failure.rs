//! Why a measurement could not be made.

use std::{io, path::PathBuf};

/// Names what was tried, so that a bench that stops says where.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file or a directory.
    #[error("cannot use `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
    /// A program that the bench runs.
    #[error("cannot run `{program}`; remedy: make setup build base")]
    Program {
        /// Which.
        program: String,
        /// From the kernel.
        source: io::Error,
    },
    /// A program that ran and failed.
    #[error("`{program}` failed: {said}")]
    Ended {
        /// With its arguments.
        program: String,
        /// What it said on stderr.
        said: String,
    },
    /// The kernel refused.
    #[error("cannot {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: rustix::io::Errno,
    },
    /// Nobody answers on a socket.
    #[error("nobody answers on a socket")]
    Transport(#[from] tonic::transport::Error),
    /// An answer that is an error.
    #[error("a request was refused: {0}")]
    Refused(Box<tonic::Status>),
    /// Text that is no JSON, or not of the form it should have.
    #[error("unexpected JSON")]
    Json(#[from] serde_json::Error),
    /// The audit log could not be opened.
    #[error(transparent)]
    Log(#[from] rumi_audit::OpenError),
    /// The audit log could not be written.
    #[error(transparent)]
    Unavailable(#[from] rumi_audit::Unavailable),
    /// The audit log was written, and does not verify.
    #[error(transparent)]
    Finding(#[from] rumi_audit::verify::Finding),
    /// A spelling that the policy refuses.
    #[error(transparent)]
    Spelling(#[from] rumi_policy::SpellingError),
    /// A request that the policy refuses.
    #[error(transparent)]
    Denied(#[from] rumi_policy::Denial),
    /// Anything else that is not as it must be.
    #[error("{0}")]
    Unexpected(String),
}

impl Failure {
    /// For `map_err` where a path is at hand.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The error and all that caused it, in one line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}
