//! `file_read` and `file_write`: everything is opened below the handle of a granted directory.

mod create;
mod directory;
mod list;
mod lookup;
mod payer;
mod read;
mod remove;
mod stat;
mod stream;
mod upload;
mod write;

use std::io;

pub use directory::open_for_terminal;
pub use list::ListHandler;
pub use lookup::{Found, find, find_itself, kind_of, kind_of_type};
pub use read::ReadHandler;
pub use stat::StatHandler;
pub use stream::{ReadStreamHandler, StreamStart};
pub use upload::UploadHandler;
pub use write::WriteHandler;

use rumi_audit::RecordId;

use crate::{
    policy_store::RootError,
    quota::QuotaError,
    refusal::{Failure, Refusal},
};

/// Bytes of a file that one reply may hold; more goes by ranges or as a stream.
pub const MAX_INLINE: u64 = 3 * 1024 * 1024;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Quota(#[from] QuotaError),
}

impl From<rustix::io::Errno> for ChangeError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl From<io::ErrorKind> for ChangeError {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl ChangeError {
    /// The refusal of a request for this path that was recorded under this id.
    fn refusal(self, path: &str, record: RecordId) -> Refusal {
        match self {
            Self::Io(error) => io_failure(path, &error),
            Self::Quota(error) => error.refusal(record.to_string()),
        }
    }
}

/// Puts an error of the kernel into words, naming only what the caller named.
pub fn io_failure(path: &str, error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return Refusal::failed(
            Failure::Precondition,
            format!("`{}` goes through too many symlinks", path.escape_debug()),
        );
    }
    let (code, what) = match error.kind() {
        Kind::NotFound => (Failure::NotFound, "is not there"),
        Kind::AlreadyExists => (Failure::AlreadyExists, "is there already"),
        Kind::NotADirectory => (
            Failure::Precondition,
            "goes through something that is no directory",
        ),
        Kind::IsADirectory => (Failure::Precondition, "is a directory"),
        Kind::DirectoryNotEmpty => (Failure::Precondition, "is a directory that is not empty"),
        Kind::StorageFull | Kind::QuotaExceeded => {
            (Failure::Unavailable, "cannot be written: the disk is full")
        }
        Kind::ReadOnlyFilesystem => (Failure::Precondition, "lies on a read-only file system"),
        Kind::FileTooLarge => (Failure::TooLarge, "would become too large"),
        Kind::InvalidFilename => (
            Failure::Precondition,
            "has a name that the file system does not take",
        ),
        Kind::CrossesDevices => (
            Failure::Precondition,
            "lies beyond a mount point or leaves its granted directory through a symlink",
        ),
        _ => {
            tracing::warn!(path = %path.escape_default(), %error, "a file operation failed");
            (
                Failure::Internal,
                "cannot be used; the broker's log says why",
            )
        }
    };
    Refusal::failed(code, format!("`{}` {what}", path.escape_debug()))
}

pub fn root_failure(error: &RootError) -> Refusal {
    Refusal::failed(Failure::Precondition, error.to_string())
}

/// A length of the file system as a count for the wire.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
