//! How a file of the host looks below `/files`: as the asking component's own, with the rights that
//! its grant gives it and no others.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rumi_policy::{AbsPath, FileKind};
use rustix::fs::Stat;

use super::{asker::Asking, looks::Seen, tree::ROOT};

/// Nothing that the kernel is told holds for the next request: it may come from another uid.
pub(super) const AT_ONCE: Duration = Duration::ZERO;
/// What programs take for the best size of a read: each one is a request of its own.
const BLOCK: u32 = 128 * 1024;

/// What may be done with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

pub(super) fn seen(inode: u64, seen: &Seen, asking: Asking) -> FileAttr {
    let rights = Rights {
        readable: seen.readable,
        writable: seen.writable,
    };
    of_stat(inode, &seen.stat, rights, asking)
}

pub(super) fn of_stat(inode: u64, stat: &Stat, rights: Rights, asking: Asking) -> FileAttr {
    let kind = file_type(crate::handlers::kind_of(stat));
    let runs = kind == FileType::Directory || stat.st_mode & 0o111 != 0;
    let perm = u16::from(rights.readable) * 0o400
        + u16::from(rights.writable) * 0o200
        + u16::from(runs) * 0o100;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: asking.uid,
        gid: asking.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// A directory that exists only to lead to granted ones.
pub(super) fn synthetic(inode: u64, asking: Asking) -> FileAttr {
    FileAttr {
        ino: INodeNo(inode),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o500,
        nlink: if inode == ROOT { 2 } else { 1 },
        uid: asking.uid,
        gid: asking.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// The number that programs see of a file: its host's, so that it stays the same when the kernel
/// has forgotten the inode and learns of it anew. Devices are told apart in the upper bits.
pub(super) fn number(device: u64, inode: u64) -> INodeNo {
    INodeNo(inode ^ device.rotate_left(40))
}

pub(super) fn number_of(stat: &Stat) -> INodeNo {
    number(stat.st_dev, stat.st_ino)
}

/// The number of a directory that is not one of the host.
pub(super) fn number_of_path(path: &AbsPath) -> INodeNo {
    // FNV-1a: the same in each run, which is all that is asked of it.
    let mixed = path
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    INodeNo(mixed | 1 << 63)
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        // Pipes, sockets and devices are listed and never looked up.
        FileKind::File | FileKind::Other => FileType::RegularFile,
    }
}

fn time(seconds: i64, nanoseconds: impl TryInto<u64>) -> SystemTime {
    let part = Duration::from_nanos(nanoseconds.try_into().unwrap_or(0));
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds) + part,
        Err(_) => UNIX_EPOCH,
    }
}
