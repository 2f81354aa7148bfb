//! What the kernel is told: a reply that is given once, and the number of an error.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI32, Ordering},
};

use fuser::Errno;
use rumi_policy::Reason;
use rustix::io::Errno as Kernel;

use crate::refusal::Refusal;

/// A reply that whoever is first gives, and the error of the host that explains a failure: a
/// refusal's sentence is for the log, and programs go by the number.
#[derive(Debug)]
pub(super) struct Answer<R> {
    reply: Arc<Mutex<Option<R>>>,
    trouble: Trouble,
}

impl<R> Clone for Answer<R> {
    fn clone(&self) -> Self {
        Self {
            reply: Arc::clone(&self.reply),
            trouble: self.trouble.clone(),
        }
    }
}

impl<R> Answer<R> {
    pub(super) fn new(reply: R) -> Self {
        Self {
            reply: Arc::new(Mutex::new(Some(reply))),
            trouble: Trouble::default(),
        }
    }

    /// The reply, unless it was given already.
    pub(super) fn take(&self) -> Option<R> {
        self.reply
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(super) fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

/// The last error of the host in one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<AtomicI32>);

impl Trouble {
    /// Keeps the number, and puts the error into words for the log.
    pub(super) fn note(&self, path: &str, error: &std::io::Error) -> Refusal {
        self.0.store(number(error), Ordering::Relaxed);
        crate::handlers::io_failure(path, error)
    }

    /// The number for a refusal of any kind.
    pub(super) fn errno(&self, refusal: &Refusal) -> Errno {
        match refusal {
            Refusal::Denied { reason, .. } => match reason {
                Reason::TooLarge | Reason::ScopeLimit => Errno::EFBIG,
                Reason::Quota => Errno::EDQUOT,
                Reason::AuditUnavailable => Errno::EIO,
                _ => Errno::EACCES,
            },
            Refusal::Failed { .. } => match self.0.load(Ordering::Relaxed) {
                0 => Errno::EIO,
                number => Errno::from_i32(number),
            },
        }
    }
}

/// The kernel's number for an error; some that are made here have none of their own.
pub(super) fn number(error: &std::io::Error) -> i32 {
    use std::io::ErrorKind as Kind;
    let made_here = match error.kind() {
        Kind::NotFound => Kernel::NOENT,
        Kind::AlreadyExists => Kernel::EXIST,
        Kind::IsADirectory => Kernel::ISDIR,
        Kind::NotADirectory => Kernel::NOTDIR,
        Kind::InvalidFilename => Kernel::NAMETOOLONG,
        Kind::PermissionDenied => Kernel::ACCESS,
        _ => Kernel::IO,
    };
    error
        .raw_os_error()
        .unwrap_or_else(|| made_here.raw_os_error())
}
