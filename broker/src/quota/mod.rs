//! What each component has made or grown through the broker, counted so that no quota is passed.
//!
//! Whoever makes or grows a file first begins a [`Growth`], covers with it what is about to be
//! added, and settles it with what is there then. Names change while [`Quotas::names`] is held,
//! and the books with them, so that the path they have for a file is where it is.

mod books;
mod journal;
mod recount;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rumi_policy::{AbsPath, ComponentId, Quota, Reason, Usage};
use rustix::fs::{AtFlags, FileType, Stat};
use serde::{Deserialize, Serialize};

use self::books::{Books, Claim};
use crate::refusal::Refusal;

/// A file or directory, as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Inode {
    device: u64,
    number: u64,
}

impl From<&Stat> for Inode {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            number: stat.st_ino,
        }
    }
}

/// Why nothing may be added.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum QuotaError {
    /// The quota is used up.
    #[error("this component may make {quota} in all, and has {usage}")]
    Full {
        /// What it may have.
        quota: Quota,
        /// What it has, and what its requests under way may still add.
        usage: Usage,
    },
    /// Nobody knows how much there is.
    #[error("what this component has written cannot be counted, so it may write no more")]
    Unreadable,
}

impl QuotaError {
    /// The refusal that ends a request which was recorded under this id.
    #[must_use]
    pub fn refusal(self, record: String) -> Refusal {
        Refusal::Denied {
            reason: Reason::Quota,
            sentence: self.to_string(),
            record,
        }
    }
}

/// One component's account, for an admin.
#[derive(Debug, Clone)]
pub struct Spent {
    /// Whose it is.
    pub component: ComponentId,
    /// What it has; nothing where the account cannot be read.
    pub usage: Option<Usage>,
}

/// The accounts of all components.
#[derive(Debug)]
pub struct Quotas {
    directory: PathBuf,
    books: Mutex<Books>,
    names: Mutex<()>,
    recounted: Mutex<HashMap<ComponentId, Instant>>,
}

/// Held while names change.
#[derive(Debug)]
pub struct Names<'a> {
    books: &'a Mutex<Books>,
    _alone: MutexGuard<'a, ()>,
}

/// A file that is being made or grown. Dropped, it frees what was reserved and not used.
#[derive(Debug)]
pub struct Growth {
    quotas: Arc<Quotas>,
    claim: Claim,
    covered: u64,
}

impl Quotas {
    /// Reads all accounts. One that cannot be read denies its component whatever would add to it.
    #[must_use]
    pub fn open(directory: PathBuf) -> Arc<Self> {
        let mut books = Books::default();
        for (component, path) in files(&directory) {
            let read = journal::Journal::open(&path).inspect_err(|error| {
                tracing::error!(path = %path.display(), %error, "an account of quotas cannot be read, so `{component}` may write nothing more; remedy: restore the file, or remove it to count from nothing");
            });
            books.take_in(component, read.ok());
        }
        let quotas = Arc::new(Self {
            directory,
            books: Mutex::new(books),
            names: Mutex::new(()),
            recounted: Mutex::default(),
        });
        quotas.catch_up();
        quotas
    }

    /// What a component has, less what it has of a file that is about to be replaced. Nothing
    /// where its account cannot be read.
    #[must_use]
    pub fn usage(&self, component: &ComponentId, replaced: Option<Inode>) -> Option<Usage> {
        let books = self.books();
        let Some(account) = books.find(component) else {
            return Some(Usage::default());
        };
        let share = replaced.map(|inode| books.share(component, inode));
        Some(account.seen()? - share.unwrap_or_default())
    }

    /// All accounts.
    #[must_use]
    pub fn list(&self) -> Vec<Spent> {
        let books = self.books();
        let spent = books.accounts().map(|account| Spent {
            component: account.component.clone(),
            usage: account.seen(),
        });
        spent.collect()
    }

    /// Begins to make a file or directory, which may `replace` one of that number and size.
    ///
    /// # Errors
    /// When there is room for no further file, or the account cannot be kept.
    pub fn create(
        self: &Arc<Self>,
        component: &ComponentId,
        quota: Quota,
        path: &AbsPath,
        replaced: Option<(Inode, u64)>,
    ) -> Result<Growth, QuotaError> {
        self.begin(component, quota, path, replaced, true)
    }

    /// Begins to grow a file that is there.
    ///
    /// # Errors
    /// When the account cannot be kept.
    pub fn grow(
        self: &Arc<Self>,
        component: &ComponentId,
        quota: Quota,
        path: &AbsPath,
        file: (Inode, u64),
    ) -> Result<Growth, QuotaError> {
        self.begin(component, quota, path, Some(file), false)
    }

    fn begin(
        self: &Arc<Self>,
        component: &ComponentId,
        quota: Quota,
        path: &AbsPath,
        before: Option<(Inode, u64)>,
        replaces: bool,
    ) -> Result<Growth, QuotaError> {
        let mut books = self.books();
        let account = books.account(component, &self.directory)?;
        let claim = books.begin(account, quota, path.as_str(), before, replaces)?;
        Ok(Growth {
            quotas: Arc::clone(self),
            claim,
            covered: 0,
        })
    }

    /// Waits until nobody else changes names. Held for no longer than a rename takes.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        Names {
            _alone: self.names.lock().unwrap_or_else(PoisonError::into_inner),
            books: &self.books,
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names<'_> {
    /// A name was taken away. What `held` holds open is gone if it was the last one, and counts
    /// until nobody grows it any more.
    pub fn removed(&self, held: impl AsFd) {
        let Ok(stat) = rustix::fs::fstat(held) else {
            return;
        };
        if stat.st_nlink == 0 {
            self.books().unnamed(Inode::from(&stat));
        }
    }

    /// What was called `from` is called `to` now, with all that is in it. A name is given by the
    /// directory it is in.
    pub fn moved(&self, from: (BorrowedFd<'_>, &str), to: (BorrowedFd<'_>, &str)) {
        let Ok(stat) = rustix::fs::statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let (from, to) = (path(from.0, from.1), path(to.0, to.1));
        self.books()
            .moved(Inode::from(&stat), &from, &to, is_directory);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Growth {
    /// Makes sure that the file may come to have so many bytes more than when this began.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn cover(&mut self, bytes: u64) -> Result<(), QuotaError> {
        let missing = bytes.saturating_sub(self.covered);
        if missing == 0 {
            return Ok(());
        }
        let more = Usage {
            bytes: missing,
            files: 0,
        };
        self.quotas.books().reserve(&mut self.claim, more)?;
        self.covered = bytes;
        Ok(())
    }

    /// Writes down what was made under this name, while names stand still; it may go on to grow.
    pub fn made(&mut self, _names: &Names<'_>, directory: BorrowedFd<'_>, name: &str, stat: &Stat) {
        self.claim.path = path(directory, name);
        self.settle(Inode::from(stat), size(stat));
    }

    /// Writes down that the file is there, as large as it is now. It may go on to grow.
    pub fn settle(&mut self, inode: Inode, size: u64) {
        self.quotas.books().settle(&mut self.claim, inode, size);
    }

    /// Writes down that the file has no name any more; it counts until the last who grow it end.
    pub fn unnamed(&mut self, inode: Inode) {
        self.quotas.books().unnamed(inode);
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.quotas.books().end(&self.claim);
    }
}

/// Where a name is now; empty, which is never taken for gone, where that cannot be told.
fn path(directory: BorrowedFd<'_>, name: &str) -> Box<str> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let above = rustix::fs::readlink(link, Vec::new());
    let above = above.ok().and_then(|path| path.into_string().ok());
    above
        .map(|above| format!("{}/{name}", above.trim_end_matches('/')))
        .unwrap_or_default()
        .into()
}

/// Bytes of a file; how large a directory is, is the file system's affair.
fn size(stat: &Stat) -> u64 {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return 0;
    }
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The accounts that lie in a directory.
fn files(directory: &Path) -> Vec<(ComponentId, PathBuf)> {
    let listed = fs::read_dir(directory).inspect_err(|error| {
        tracing::error!(path = %directory.display(), %error, "the accounts of quotas cannot be listed");
    });
    let entries = listed.into_iter().flatten().flatten();
    let accounts = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let component = name.strip_suffix(".jsonl")?.parse().ok()?;
        Some((component, entry.path()))
    });
    accounts.collect()
}
