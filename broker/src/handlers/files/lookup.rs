//! Opens what a request names, below a granted directory and never beyond it.

use std::{fs::File, io, os::fd::OwnedFd};

use rumi_policy::{AbsPath, FileKind};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{policy_store::Root, quota::Inode};

/// Confined to the root: no way up, no magic link, no other mount.
const CONFINED: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Something that was found, held by a handle that can neither read nor write, unless it is
/// a regular file that is about to be read.
#[derive(Debug)]
pub struct Found {
    pub(super) handle: OwnedFd,
    readable: bool,
    /// As the kernel describes it.
    pub stat: Stat,
    pub(super) real_path: AbsPath,
}

impl Found {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        kind_of(&self.stat)
    }
    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }
    /// How the books know it.
    #[must_use]
    pub fn counted(&self) -> (Inode, u64) {
        (Inode::from(&self.stat), self.size())
    }
    /// How many names it has.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.stat.st_nlink
    }

    /// The handle itself, good for *at calls.
    #[must_use]
    pub fn handle(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd as _;
        self.handle.as_fd()
    }

    /// Where it really is.
    #[must_use]
    pub fn real_path(&self) -> &AbsPath {
        &self.real_path
    }

    /// Opens it for reading. The handle names the inode that was looked at, so nothing
    /// can be put in its place.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        use std::os::fd::AsRawFd as _;
        let path = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }
}

impl Found {
    /// The file, for reading.
    pub(super) fn into_reader(self) -> io::Result<File> {
        if self.readable {
            return Ok(self.handle.into());
        }
        self.open(OFlags::RDONLY).map(File::from)
    }
}

/// The kind of what was looked at.
#[must_use]
pub fn kind_of(stat: &Stat) -> FileKind {
    kind_of_type(FileType::from_raw_mode(stat.st_mode))
}

/// The kind that a directory entry says.
#[must_use]
pub fn kind_of_type(file_type: FileType) -> FileKind {
    match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// Finds `relative` below the root; symlinks are followed as long as they stay below it.
///
/// # Errors
/// When it is not there, or leads out of the root.
pub fn find(root: &Root, relative: &str) -> io::Result<Found> {
    find_with(root, relative, OFlags::PATH)
}

/// Finds what is to be read. A regular file that no symlink leads to is opened for reading at
/// once, which saves opening it a second time; everything else is found as always.
pub(super) fn find_readable(root: &Root, relative: &str, asked: &AbsPath) -> io::Result<Found> {
    let Some((handle, stat)) = straight_file(root, relative) else {
        return find(root, relative);
    };
    let real_path = if asked.strip_prefix(root.path()) == Some(relative) {
        asked.clone()
    } else {
        join(root.path(), relative)?
    };
    Ok(Found {
        handle,
        readable: true,
        stat,
        real_path,
    })
}

/// Looks first: opening a device may do something, and opening a pipe frees who waits to
/// write to it. What is put there in between is a pipe at most, is opened without waiting,
/// and is let go.
fn straight_file(root: &Root, relative: &str) -> Option<(OwnedFd, Stat)> {
    let quiet = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let seen = rustix::fs::statat(root.handle(), relative, quiet).ok()?;
    if kind_of(&seen) != FileKind::File {
        return None;
    }
    let handle = rustix::fs::openat2(
        root.handle(),
        relative,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        CONFINED | ResolveFlags::NO_SYMLINKS,
    )
    .ok()?;
    let stat = rustix::fs::fstat(&handle).ok()?;
    (kind_of(&stat) == FileKind::File).then_some((handle, stat))
}

/// Finds what lies there itself: no symlink is followed on the way, and one at the end is what
/// was found.
///
/// # Errors
/// When it is not there, or a symlink leads to it.
pub fn find_itself(root: &Root, relative: &str) -> io::Result<Found> {
    let name = if relative.is_empty() { "." } else { relative };
    let handle = rustix::fs::openat2(
        root.handle(),
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        CONFINED | ResolveFlags::NO_SYMLINKS,
    )?;
    let stat = rustix::fs::fstat(&handle)?;
    Ok(Found {
        handle,
        readable: false,
        stat,
        real_path: join(root.path(), relative)?,
    })
}

/// Finds a directory.
pub(super) fn find_directory(root: &Root, relative: &str) -> io::Result<Found> {
    find_with(root, relative, OFlags::PATH | OFlags::DIRECTORY)
}

fn find_with(root: &Root, relative: &str, flags: OFlags) -> io::Result<Found> {
    let name = if relative.is_empty() { "." } else { relative };
    let flags = flags | OFlags::CLOEXEC;
    // A path without symlinks is its own real path, which saves a system call.
    let straight = rustix::fs::openat2(
        root.handle(),
        name,
        flags,
        Mode::empty(),
        CONFINED | ResolveFlags::NO_SYMLINKS,
    );
    let (handle, real_path) = match straight {
        Ok(handle) => (handle, join(root.path(), relative)?),
        Err(Errno::LOOP) => {
            let handle = retrying(|| {
                rustix::fs::openat2(root.handle(), name, flags, Mode::empty(), CONFINED)
            })?;
            let real_path = real_path(&handle)?;
            (handle, real_path)
        }
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&handle)?;
    Ok(Found {
        handle,
        readable: false,
        stat,
        real_path,
    })
}

/// Holds what has this very name in a directory, a symlink included; nothing where none has.
pub(super) fn find_name(parent: &Found, name: &str) -> io::Result<Option<Found>> {
    let opened = rustix::fs::openat(
        &parent.handle,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let handle = match opened {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&handle)?;
    Ok(Some(Found {
        handle,
        readable: false,
        stat,
        real_path: join(&parent.real_path, name)?,
    }))
}

/// The kernel says EAGAIN when a rename ran beside a lookup that must stay beneath.
fn retrying<T>(mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..16 {
        match attempt() {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    attempt()
}

/// A path below a root; the policy has parsed both parts.
pub(super) fn join(root: &AbsPath, relative: &str) -> io::Result<AbsPath> {
    if relative.is_empty() {
        return Ok(root.clone());
    }
    let joined = if root.is_root() {
        format!("/{relative}")
    } else {
        format!("{root}/{relative}")
    };
    joined
        .parse()
        .map_err(|_| io::ErrorKind::InvalidFilename.into())
}

fn real_path(handle: &OwnedFd) -> io::Result<AbsPath> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?;
    target
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}
