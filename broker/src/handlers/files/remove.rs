//! Takes names away, or moves them.

use std::io;

use rustix::fs::AtFlags;

use super::{
    create::{Place, sync_directory},
    lookup,
};

/// Deletes a file or an empty directory, never what a symlink points to.
pub(super) fn delete(place: &Place) -> io::Result<()> {
    let stat = rustix::fs::statat(&place.parent.handle, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match lookup::kind_of(&stat) {
        rumi_policy::FileKind::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    rustix::fs::unlinkat(&place.parent.handle, &place.name, flags)?;
    sync_directory(&place.parent)
}

/// Moves a name to another, replacing what is there.
pub(super) fn rename(from: &Place, to: &Place) -> io::Result<()> {
    rustix::fs::renameat(&from.parent.handle, &from.name, &to.parent.handle, &to.name)?;
    sync_directory(&from.parent)?;
    sync_directory(&to.parent)
}
