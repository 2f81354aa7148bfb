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

use rumi_policy::AbsPath;

use super::{ChangeError, count, lookup, payer::Payer};
use crate::{
    policy_store::Root,
    quota::{Growth, Inode},
};

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
    /// Where that really is, as far as was seen.
    pub(super) path: AbsPath,
    /// What had the name when it was looked at.
    pub(super) existing: Option<lookup::Found>,
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
    payer: Payer,
    growth: Growth,
    length: u64,
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
    pub(super) fn begin(place: &Place, payer: &Payer) -> Result<Self, ChangeError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let growth = payer.create(place)?;
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
                        payer: payer.clone(),
                        growth,
                        length: 0,
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

    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), ChangeError> {
        let length = self.length.saturating_add(count(data.len()));
        self.growth.cover(length)?;
        self.file.write_all(data)?;
        self.length = length;
        Ok(())
    }

    /// Makes it durable and gives it its name in one step.
    pub(super) fn publish(mut self, place: &Place, existing: Existing) -> Result<u64, ChangeError> {
        let mode = match rustix::fs::statat(&self.parent, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.st_mode & 0o777,
            Err(_) => FILE_MODE,
        };
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        self.file.sync_all()?;
        let stat = rustix::fs::fstat(&self.file)?;
        let flags = match existing {
            Existing::Replace => RenameFlags::empty(),
            Existing::Refuse => RenameFlags::NOREPLACE,
        };
        let names = self.payer.names();
        rustix::fs::renameat_with(
            &self.parent,
            &self.temporary,
            &self.parent,
            &place.name,
            flags,
        )?;
        self.kept = true;
        let directory = self.parent.as_fd();
        self.growth.made(&names, directory, &place.name, &stat);
        if let Some(replaced) = &place.existing {
            names.removed(&replaced.handle);
        }
        drop(names);
        sync_directory(&place.parent)?;
        Ok(self.length)
    }
}

/// Appends, to a file that is checked again once it is open: it may be another by now.
pub(super) fn append(place: &Place, data: &[u8], payer: &Payer) -> Result<u64, ChangeError> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(&place.parent.handle, &place.name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => {
            let mut draft = Draft::begin(place, payer)?;
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
    let inode = Inode::from(&stat);
    let mut file = File::from(handle);
    let before = file.metadata()?.len();
    let mut growth = payer.grow(place, (inode, before))?;
    growth.cover(count(data.len()))?;
    if let Err(error) = file.write_all(data) {
        // Half of an append is taken back, so that a full disk leaves the file as it was.
        file.set_len(before)?;
        return Err(error.into());
    }
    let after = file.metadata()?.len();
    growth.settle(inode, after);
    file.sync_data()?;
    Ok(after)
}

/// Makes one directory.
pub(super) fn directory(place: &Place, payer: &Payer) -> Result<(), ChangeError> {
    let mut growth = payer.create(place)?;
    let names = payer.names();
    rustix::fs::mkdirat(
        &place.parent.handle,
        &place.name,
        Mode::from_raw_mode(DIRECTORY_MODE),
    )?;
    let made = open_directory(place.parent.handle.as_fd(), &place.name)?;
    let stat = rustix::fs::fstat(&made)?;
    let parent = place.parent.handle.as_fd();
    growth.made(&names, parent, &place.name, &stat);
    drop(names);
    rustix::fs::fchmod(&made, Mode::from_raw_mode(DIRECTORY_MODE))?;
    own(made.as_fd(), &place.parent)?;
    Ok(sync_directory(&place.parent)?)
}

/// Makes a directory and those that are missing on the way to it.
pub(super) fn directories(root: &Root, relative: &str, payer: &Payer) -> Result<(), ChangeError> {
    let mut so_far = String::new();
    for segment in relative.split('/') {
        let parent = lookup::find_directory(root, &so_far)?;
        let place = Place {
            path: lookup::join(&parent.real_path, segment)?,
            parent,
            name: segment.to_owned(),
            existing: None,
        };
        if !is_there(&place) {
            match directory(&place, payer) {
                Err(ChangeError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        if !so_far.is_empty() {
            so_far.push('/');
        }
        so_far.push_str(segment);
    }
    // What was there already may have been a file.
    lookup::find_directory(root, relative)?;
    Ok(())
}

/// Whether something has the name already, for which then nobody pays.
fn is_there(place: &Place) -> bool {
    let quiet = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statat(&place.parent.handle, &place.name, quiet).is_ok()
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
