//! Names that are about to be made, taken away or moved: their directory is open, and no symlink
//! led there.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rumi_policy::{AbsPath, Existing, FileKind, FileWriteFound, RenameFound};
use rustix::{
    fs::{Gid, Mode, Uid},
    io::Errno,
};

use super::answer::Trouble;
use crate::{
    handlers::{Found, find_itself, root_failure},
    pipeline::Context,
    refusal::Refusal,
};

/// A name in an open directory, and what it stands for now.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) parent: Found,
    pub(super) name: String,
    pub(super) existing: Option<Found>,
    pub(super) real_root: AbsPath,
    pub(super) real_path: AbsPath,
}

impl Spot {
    /// Finds a name below a granted directory.
    pub(super) fn find(
        context: Context<'_>,
        root: &AbsPath,
        relative: &str,
        trouble: &Trouble,
    ) -> Result<Self, Refusal> {
        let opened = context.policy.roots.get(root);
        let opened = opened.map_err(|error| root_failure(&error))?;
        let find = || {
            let (directory, name) = relative.rsplit_once('/').unwrap_or(("", relative));
            if name.is_empty() {
                // The granted directory itself is the admin's, not the pack's.
                return Err(Errno::BUSY.into());
            }
            let parent = find_itself(&opened, directory)?;
            if parent.kind() != FileKind::Directory {
                return Err(Errno::NOTDIR.into());
            }
            let existing = match find_itself(&opened, relative) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let real_path = parent.real_path().join(name).map_err(io::Error::other)?;
            Ok(Self {
                parent,
                name: name.to_owned(),
                existing,
                real_root: opened.path().clone(),
                real_path,
            })
        };
        find().map_err(|error: io::Error| trouble.note(relative, &error))
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.parent.handle()
    }

    /// What the policy judges; for a rename, with where it goes.
    pub(super) fn found(&self, to: Option<&Self>) -> FileWriteFound {
        FileWriteFound {
            existing: self.seen(),
            real_root: self.real_root.clone(),
            real_path: self.real_path.clone(),
            to: to.map(|to| RenameFound {
                existing: to.seen(),
                real_root: to.real_root.clone(),
                real_path: to.real_path.clone(),
            }),
            usage: None,
            missing: 1,
            in_place: true,
        }
    }

    /// What the policy wants to know of what is there.
    pub(super) fn seen(&self) -> Option<Existing> {
        self.existing.as_ref().map(existing)
    }
}

pub(super) fn existing(found: &Found) -> Existing {
    Existing {
        kind: found.kind(),
        size: found.size(),
        links: found.links(),
    }
}

/// Gives what was made to whoever owns the directory, with rights that are always the same:
/// neither the pack's umask nor setuid bits play a part.
pub(super) fn own(made: impl AsFd, parent: &Found, mode: u32) -> io::Result<()> {
    let (uid, gid) = (parent.stat.st_uid, parent.stat.st_gid);
    rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?)
}
