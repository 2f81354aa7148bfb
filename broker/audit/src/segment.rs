//! The files that a log consists of.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::error::Failure;

/// The newest signed statement about the log.
pub(crate) const CHECKPOINT: &str = "checkpoint";

const PREFIX: &str = "log-";
const SUFFIX: &str = ".jsonl";
const DIGITS: usize = 20;

/// A segment, named for the sequence number of its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(dir: &Path, first: u64) -> Self {
        Self {
            first,
            path: dir.join(format!("{PREFIX}{first:020}{SUFFIX}")),
        }
    }

    /// All segments in `dir`, in their order.
    pub(crate) fn list(dir: &Path) -> io::Result<Vec<Self>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(first) = name.to_str().and_then(first_of) {
                segments.push(Self {
                    first,
                    path: entry.path(),
                });
            }
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    /// Bytes that we wrote; the file must never have more or less.
    pub(crate) length: u64,
    identity: (u64, u64),
}

impl OpenSegment {
    /// Makes a new segment and claims its blocks, so that the disk fills up here rather than in mid-record.
    pub(crate) fn create(segment: &Segment, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&segment.path)?;
        Self::with(segment, file, 0, bytes)
    }

    /// Goes on with a segment that ends after `length` bytes.
    pub(crate) fn resume(segment: &Segment, length: u64, bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&segment.path)?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        Self::with(segment, file, length, bytes)
    }

    fn with(segment: &Segment, file: File, length: u64, bytes: u64) -> io::Result<Self> {
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            // Not every file system can; then a full disk shows as a failed write.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        let metadata = file.metadata()?;
        Ok(Self {
            path: segment.path.clone(),
            file: Arc::new(file),
            length,
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// Finds out whether the file is still the one at its path, and still as long as we left it.
    pub(crate) fn inspect(&self) -> Result<(), Failure> {
        let tampered = |what| Failure::Tampered {
            path: self.path.clone(),
            what,
        };
        let examine = |source| Failure::Io {
            action: "examine",
            path: self.path.clone(),
            source,
        };
        let ours = self.file.metadata().map_err(examine)?;
        if ours.nlink() == 0 {
            return Err(tampered("deleted"));
        }
        if ours.len() != self.length {
            return Err(tampered("changed in size"));
        }
        match fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == self.identity => Ok(()),
            Ok(_) => Err(tampered("replaced")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(tampered("moved away")),
            Err(error) => Err(examine(error)),
        }
    }
}
