//! Takes names away, or moves them.

use std::{io, os::fd::AsFd as _};

use rustix::fs::AtFlags;

use super::{
    create::{Place, sync_directory},
    lookup,
    payer::Payer,
};

/// Deletes a file or an empty directory, never what a symlink points to.
pub(super) fn delete(place: &Place, payer: &Payer) -> io::Result<()> {
    let stat = rustix::fs::statat(&place.parent.handle, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match lookup::kind_of(&stat) {
        rumi_policy::FileKind::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    let names = payer.names();
    rustix::fs::unlinkat(&place.parent.handle, &place.name, flags)?;
    if let Some(removed) = &place.existing {
        names.removed(&removed.handle);
    }
    drop(names);
    sync_directory(&place.parent)
}

/// Moves a name to another, replacing what is there.
pub(super) fn rename(from: &Place, to: &Place, payer: &Payer) -> io::Result<()> {
    let (source, target) = (from.parent.handle.as_fd(), to.parent.handle.as_fd());
    let names = payer.names();
    rustix::fs::renameat(source, &from.name, target, &to.name)?;
    names.moved((source, &from.name), (target, &to.name));
    if let Some(replaced) = &to.existing {
        names.removed(&replaced.handle);
    }
    drop(names);
    sync_directory(&from.parent)?;
    sync_directory(&to.parent)
}
