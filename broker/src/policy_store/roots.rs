//! Granted directories, each opened once for each policy and held.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rumi_policy::AbsPath;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};

/// Milliseconds for which it is believed that a directory is where it was; far less than the
/// second within which a change takes effect.
const CHECKED_FOR: u64 = 100;

/// A granted directory that is open.
#[derive(Debug)]
pub struct Root {
    handle: OwnedFd,
    path: AbsPath,
    device: u64,
    inode: u64,
    opened: Instant,
    checked: AtomicU64,
}

/// Why a granted directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is not there, or not a directory, or its path goes through a symlink.
    #[error(
        "the granted directory `{path}` cannot be opened; grants take real paths, without symlinks"
    )]
    Open {
        /// As granted.
        path: AbsPath,
        /// From the kernel.
        source: io::Error,
    },
    /// Another directory lies there now.
    #[error(
        "the granted directory `{path}` was replaced by another since the grant was read; take it out of the grant and put it in again to grant the new one"
    )]
    Replaced {
        /// As granted.
        path: AbsPath,
    },
}

impl Root {
    fn open(path: &AbsPath) -> Result<Self, RootError> {
        let open = || {
            let handle = rustix::fs::openat2(
                CWD,
                path.as_str(),
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
            )?;
            let stat = rustix::fs::fstat(&handle)?;
            Ok::<_, rustix::io::Errno>((handle, stat))
        };
        let (handle, stat) = open().map_err(|errno| RootError::Open {
            path: path.clone(),
            source: errno.into(),
        })?;
        Ok(Self {
            handle,
            path: path.clone(),
            device: stat.st_dev,
            inode: stat.st_ino,
            opened: Instant::now(),
            checked: AtomicU64::new(0),
        })
    }

    /// The directory's handle, good for *at calls.
    #[must_use]
    pub fn handle(&self) -> std::os::fd::BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Its path, which holds no symlink.
    #[must_use]
    pub fn path(&self) -> &AbsPath {
        &self.path
    }

    /// Whether the path still names this very directory, as far as was known a moment ago:
    /// what is read meanwhile is the directory that was granted, wherever it lies now.
    fn check(&self) -> Result<(), RootError> {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now.saturating_sub(self.checked.load(Ordering::Relaxed)) < CHECKED_FOR {
            return Ok(());
        }
        let replaced = || RootError::Replaced {
            path: self.path.clone(),
        };
        let stat = rustix::fs::statat(CWD, self.path.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|_| replaced())?;
        let same = stat.st_dev == self.device
            && stat.st_ino == self.inode
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !same {
            return Err(replaced());
        }
        self.checked.store(now, Ordering::Relaxed);
        Ok(())
    }
}

/// All roots that requests have needed under one policy.
#[derive(Debug, Default)]
pub struct Roots(RwLock<HashMap<AbsPath, Arc<Root>>>);

/// Directories that are opened as soon as they are granted; more are opened when they are
/// first needed, so that a policy of very many does not exhaust the open files.
const HELD_EAGERLY: usize = 4096;

impl Roots {
    /// The roots of a new policy: those that are still granted stay the same ones, and the
    /// others are opened now. What cannot be opened is tried again when it is asked for.
    pub(super) fn carried_to(&self, granted: impl Iterator<Item = AbsPath>) -> Self {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut roots = HashMap::new();
        for path in granted {
            if roots.len() >= HELD_EAGERLY {
                break;
            }
            if roots.contains_key(&path) {
                continue;
            }
            let root = match held.get(&path) {
                Some(root) => Some(Arc::clone(root)),
                None => Root::open(&path).ok().map(Arc::new),
            };
            if let Some(root) = root {
                roots.insert(path, root);
            }
        }
        Self(RwLock::new(roots))
    }

    /// The open directory at a granted path.
    ///
    /// # Errors
    /// When it cannot be opened, or is not the one that was opened first.
    pub fn get(&self, path: &AbsPath) -> Result<Arc<Root>, RootError> {
        let known = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .map(Arc::clone);
        if let Some(root) = known {
            root.check()?;
            return Ok(root);
        }
        let root = Arc::new(Root::open(path)?);
        let mut roots = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(roots.entry(path.clone()).or_insert(root)))
    }
}
