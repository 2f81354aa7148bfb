//! What is open: host files and directories behind the numbers that the kernel is given. A pack
//! never gets a descriptor of the host, and what is revoked is closed here at once.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use fuser::{BackingId, Errno};
use rumi_policy::{AbsPath, FileTerms};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::paying::Growing;

/// What an open file may be used for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uses {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
    /// Size that the file may come to have.
    pub(super) most: u64,
}

/// Where it cannot be told, it is taken for a disk's.
fn is_in_memory(file: &File) -> bool {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: i64 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == TMPFS)
}

/// One open file of one component.
#[derive(Debug)]
pub(super) struct OpenFile {
    uid: u32,
    pub(super) inode: u64,
    pub(super) uses: Uses,
    file: RwLock<Option<Arc<File>>>,
    /// Whether its file system is memory alone, so that reading and writing wait for no disk.
    pub(super) in_memory: bool,
    /// Where it may grow: on whose account.
    pub(super) growing: Option<Arc<Growing>>,
    /// Kept for as long as the kernel reads the file by itself.
    pub(super) backing: Option<Arc<BackingId>>,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    revoked: CancellationToken,
    closed: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl OpenFile {
    pub(super) fn new(
        uid: u32,
        inode: u64,
        uses: Uses,
        file: Arc<File>,
        growing: Option<Arc<Growing>>,
        backing: Option<Arc<BackingId>>,
        place: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        Arc::new(Self {
            uid,
            inode,
            uses,
            in_memory: is_in_memory(&file),
            file: RwLock::new(Some(file)),
            growing,
            backing,
            bytes_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            revoked: CancellationToken::new(),
            closed: CancellationToken::new(),
            _place: place,
        })
    }

    pub(super) fn belongs_to(&self, uid: u32) -> bool {
        self.uid == uid
    }

    /// The host's file, unless it was revoked.
    pub(super) fn file(&self) -> Result<Arc<File>, Errno> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().map(Arc::clone).ok_or(Errno::EACCES)
    }

    /// From now on nothing is read or written by it.
    pub(super) fn revoke(&self) {
        self.file
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.revoked.cancel();
    }

    /// Resolves when it was revoked.
    pub(super) async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    pub(super) fn count_out(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_in(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that came from the pack, and bytes that went to it.
    pub(super) fn counted(&self) -> (u64, u64) {
        (
            self.bytes_in.load(Ordering::Relaxed),
            self.bytes_out.load(Ordering::Relaxed),
        )
    }

    /// Resolves when the kernel has let go of it.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// One open directory of one component.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    uid: u32,
    pub(super) source: Source,
    revoked: CancellationToken,
    closed: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// Where the names come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The grants: the way from here to granted directories.
    Grants(AbsPath),
    /// A directory of the host, less what the terms do not show.
    Host {
        /// Its position is moved with each read.
        directory: Mutex<OwnedFd>,
        /// What the listing was allowed by.
        terms: FileTerms,
        /// What it was asked for as.
        path: AbsPath,
    },
}

impl OpenDirectory {
    pub(super) fn new(uid: u32, source: Source, place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self {
            uid,
            source,
            revoked: CancellationToken::new(),
            closed: CancellationToken::new(),
            _place: place,
        })
    }

    pub(super) fn revoke(&self) {
        self.revoked.cancel();
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// All that is open below one mount.
#[derive(Debug, Default)]
pub(super) struct Opens {
    next: AtomicU64,
    /// The kernel is gone. Set before all are closed, and looked at where one is added.
    ended: AtomicBool,
    files: RwLock<Files>,
    directories: RwLock<HashMap<u64, Arc<OpenDirectory>>>,
}

#[derive(Debug, Default)]
struct Files {
    by_number: HashMap<u64, Arc<OpenFile>>,
    of_inode: HashMap<u64, Vec<u64>>,
}

impl Opens {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn add_file(&self, file: &Arc<OpenFile>) -> u64 {
        let number = self.number();
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if self.ended.load(Ordering::Acquire) {
            file.closed.cancel();
            return number;
        }
        files.by_number.insert(number, Arc::clone(file));
        files.of_inode.entry(file.inode).or_default().push(number);
        number
    }

    /// An open file, for the component that opened it: one that was handed on to another
    /// component's process is of no use there.
    pub(super) fn file(&self, number: u64, uid: u32) -> Result<Arc<OpenFile>, Errno> {
        let file = self.any_file(number)?;
        if file.uid == uid {
            Ok(file)
        } else {
            Err(Errno::EACCES)
        }
    }

    /// An open file, for the kernel itself, which writes back what was mapped.
    pub(super) fn any_file(&self, number: u64) -> Result<Arc<OpenFile>, Errno> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        files
            .by_number
            .get(&number)
            .map(Arc::clone)
            .ok_or(Errno::EBADF)
    }

    /// Files that are open under an inode.
    pub(super) fn of_inode(&self, inode: u64) -> Vec<Arc<OpenFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = files.of_inode.get(&inode).into_iter().flatten();
        numbers
            .filter_map(|number| files.by_number.get(number).map(Arc::clone))
            .collect()
    }

    pub(super) fn close_file(&self, number: u64) -> Option<Arc<OpenFile>> {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let file = files.by_number.remove(&number)?;
        if let Some(numbers) = files.of_inode.get_mut(&file.inode) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                files.of_inode.remove(&file.inode);
            }
        }
        file.closed.cancel();
        Some(file)
    }

    pub(super) fn add_directory(&self, directory: &Arc<OpenDirectory>) -> u64 {
        let number = self.number();
        let mut directories = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.ended.load(Ordering::Acquire) {
            directory.closed.cancel();
            return number;
        }
        directories.insert(number, Arc::clone(directory));
        number
    }

    pub(super) fn directory(&self, number: u64, uid: u32) -> Result<Arc<OpenDirectory>, Errno> {
        let directories = self
            .directories
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match directories.get(&number) {
            Some(directory) if directory.uid == uid && !directory.is_revoked() => {
                Ok(Arc::clone(directory))
            }
            Some(_) => Err(Errno::EACCES),
            None => Err(Errno::EBADF),
        }
    }

    pub(super) fn close_directory(&self, number: u64) {
        let closed = self
            .directories
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        if let Some(directory) = closed {
            directory.closed.cancel();
        }
    }

    /// The kernel is gone: nobody will close any of them, nor what is opened from now on.
    pub(super) fn close_all(&self) {
        self.ended.store(true, Ordering::Release);
        let files = {
            let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *files)
        };
        for file in files.by_number.values() {
            file.closed.cancel();
        }
        let directories = {
            let mut open = self
                .directories
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *open)
        };
        for directory in directories.values() {
            directory.closed.cancel();
        }
    }
}
