//! The mount itself: made, found dead, taken away. Its parent is shared, so that what happens here
//! happens in the pack's container too.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

/// The device that every FUSE file system is served through.
pub(crate) const DEVICE: &str = "/dev/fuse";
/// Bytes of one read or write; a session's threads hold as much.
pub(super) const LARGEST: u32 = 256 * 1024;
/// Dead mounts that may lie on top of each other.
const STACKED: usize = 16;

/// Mounts a new, still unanswered file system; the answers go through the descriptor.
pub(super) fn attach(point: &Path) -> io::Result<OwnedFd> {
    detach(point)?;
    let made = fs::DirBuilder::new().mode(0o755).create(point);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={LARGEST}",
        device.as_raw_fd()
    );
    let options = CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    mount("rumi", point, "fuse.rumi", flags, &*options)?;
    Ok(device)
}

/// Takes away whatever is mounted there, here and in the container.
pub(super) fn detach(point: &Path) -> io::Result<()> {
    for _ in 0..STACKED {
        match unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::BUSY.into())
}

/// Keeps the file system that is mounted there, and with it the number of its connection, until it
/// is dropped.
pub(super) fn hold(point: &Path) -> io::Result<(OwnedFd, u32)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::open(point, flags, Mode::empty())?;
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
    let seen = rustix::fs::statx(&held, "", flags, StatxFlags::empty())?;
    if seen.stx_dev_major != 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((held, seen.stx_dev_minor))
}

/// The number by which the kernel knows the connection. Nothing is asked of whoever serves it.
pub(super) fn connection(point: &Path) -> io::Result<u32> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let seen = rustix::fs::statx(CWD, point, flags, StatxFlags::empty())?;
    Ok(seen.stx_dev_minor)
}
