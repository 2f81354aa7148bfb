//! How a command ended.

use std::time::Duration;

/// Why a command was ended before it ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran for longer than it may.
    Timeout,
    /// It wrote more than it may.
    OutputLimit,
    /// It, or one of its children, used more memory than it may.
    OutOfMemory,
    /// Its grant went away.
    Revoked,
    /// Nobody waits for it any more.
    Disconnected,
    /// The admin stopped it.
    ByAdmin,
    /// A signal ended it that its caller had sent.
    Signal,
}

impl Stopped {
    /// The word for records and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::OutputLimit => "output_limit",
            Self::OutOfMemory => "out_of_memory",
            Self::Revoked => "revoked",
            Self::Disconnected => "disconnected",
            Self::ByAdmin => "stopped",
            Self::Signal => "signal",
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its code; 128 and the signal's number where one ended it.
    pub exit_code: i64,
    /// Whether more was written than was passed on.
    pub truncated: bool,
    /// Why it was ended, where it was.
    pub stopped: Option<Stopped>,
    /// The container it ran in, which is gone; `host` where it ran there.
    pub place: String,
    /// From start to end.
    pub duration: Duration,
    /// Bytes of input that it took.
    pub bytes_in: u64,
    /// Bytes of output that were passed on.
    pub bytes_out: u64,
}
