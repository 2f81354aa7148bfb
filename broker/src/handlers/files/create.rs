//! Brings files and directories into being: whole or not at all, and owned by whoever
//! owns the directory they are in.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::lookup;

/// Permission bits of new files and directories, before nothing else: setuid bits and the
/// umask play no part.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// Setuid, setgid and sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// The directory in which something is about to change, and the last name of the path.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: lookup::Found,
    pub(super) name: String,
}

/// What a whole file does to one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Replace,
    Refuse,
}

/// A new file that has no name a reader would use until it is complete.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    parent: OwnedFd,
    temporary: String,
    kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let removed = rustix::fs::unlinkat(&self.parent, &self.temporary, AtFlags::empty());
            if let Err(error) = removed {
                tracing::warn!(file = %self.temporary, %error, "an unfinished file stays behind");
            }
        }
    }
}

impl Draft {
    /// Starts a file in the place's directory, owned like the directory.
    pub(super) fn begin(place: &Place) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = place.parent.handle.try_clone()?;
        for _ in 0..64 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = format!(".rumi-{}-{number}.tmp", std::process::id());
            let opened = rustix::fs::openat(
                &parent,
                &temporary,
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o600),
            );
            match opened {
                Ok(handle) => {
                    let draft = Self {
                        file: File::from(handle),
                        parent,
                        temporary,
                        kept: false,
                    };
                    own(draft.file.as_fd(), &place.parent)?;
                    return Ok(draft);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// Makes it durable and gives it its name in one step.
    pub(super) fn publish(mut self, place: &Place, existing: Existing) -> io::Result<u64> {
        let mode = match rustix::fs::statat(&self.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.st_mode & 0o777,
            Err(_) => FILE_MODE,
        };
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        self.file.sync_all()?;
        let size = self.file.metadata()?.len();
        let flags = match existing {
            Existing::Replace => RenameFlags::empty(),
            Existing::Refuse => RenameFlags::NOREPLACE,
        };
        rustix::fs::renameat_with(
            &self.parent,
            &self.temporary,
            &self.parent,
            &place.name,
            flags,
        )?;
        self.kept = true;
        sync_directory(&place.parent)?;
        Ok(size)
    }
}

/// Appends, to a file that is checked again once it is open: it may be another by now.
pub(super) fn append(place: &Place, data: &[u8]) -> io::Result<u64> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(&place.parent.handle, &place.name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => {
            let mut draft = Draft::begin(place)?;
            draft.write(data)?;
            return draft.publish(place, Existing::Refuse);
        }
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&handle)?;
    if lookup::kind_of(&stat) != rumi_policy::FileKind::File || stat.st_nlink > 1 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if stat.st_mode & SPECIAL_BITS != 0 {
        // The kernel takes these bits away when others write, but not when root does, and
        // what a pack wrote must not run with another's rights.
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    }
    let mut file = File::from(handle);
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(data) {
        // Half of an append is taken back, so that a full disk leaves the file as it was.
        file.set_len(before)?;
        return Err(error);
    }
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// Makes one directory.
pub(super) fn directory(place: &Place) -> io::Result<()> {
    rustix::fs::mkdirat(
        &place.parent.handle,
        &place.name,
        Mode::from_raw_mode(DIRECTORY_MODE),
    )?;
    let made = open_directory(place.parent.handle.as_fd(), &place.name)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(DIRECTORY_MODE))?;
    own(made.as_fd(), &place.parent)?;
    sync_directory(&place.parent)
}

/// Makes a directory and those that are missing on the way to it.
pub(super) fn directories(root: &crate::policy_store::Root, relative: &str) -> io::Result<()> {
    let mut so_far = String::new();
    for segment in relative.split('/') {
        let parent = lookup::find_directory(root, &so_far)?;
        let place = Place {
            parent,
            name: segment.to_owned(),
        };
        match directory(&place) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if !so_far.is_empty() {
            so_far.push('/');
        }
        so_far.push_str(segment);
    }
    // What was there already may have been a file.
    lookup::find_directory(root, relative).map(drop)
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )?)
}

fn own(made: BorrowedFd<'_>, parent: &lookup::Found) -> io::Result<()> {
    let (uid, gid) = (parent.stat.st_uid, parent.stat.st_gid);
    Ok(rustix::fs::fchown(
        made,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?)
}

/// A name is durable only when its directory is.
pub(super) fn sync_directory(directory: &lookup::Found) -> io::Result<()> {
    let handle = directory.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
    Ok(rustix::fs::fsync(&handle)?)
}
