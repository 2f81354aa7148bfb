//! The /tmp of a container, as the kernel counts what lies in it.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{Mode, OFlags, fstatfs, open},
    io::Errno,
};

/// What `statfs` says of a file system in memory.
const TMPFS: i64 = 0x0102_1994;
/// The directory itself is one.
const EMPTY: u64 = 1;

/// A handle on a container's /tmp. It is looked at and never into: what lies there is the pack's.
#[derive(Debug)]
pub struct Tmp(OwnedFd);

impl Tmp {
    /// The /tmp of the container whose PID 1 has this pid on the host. Nothing where it is no file
    /// system of its own in memory, or where the container has shared memory as well.
    #[must_use]
    pub fn of_init(pid: i32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let at = |path: &str| open(format!("/proc/{pid}/root/{path}"), flags, Mode::empty());
        match at("dev/shm") {
            Err(Errno::NOENT) => {
                let tmp = Self(at("tmp").ok()?);
                tmp.inodes().is_some().then_some(tmp)
            }
            _ => None,
        }
    }

    /// Whether nothing lies in it, not even a file without a name that a process holds open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes() == Some(EMPTY)
    }

    /// Whether more than half of its bytes or inodes are taken.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        let Ok(said) = fstatfs(&self.0) else {
            return false;
        };
        let half = |total: u64, free: u64| total > 0 && free < total / 2;
        half(said.f_blocks, said.f_bfree) || half(said.f_files, said.f_ffree)
    }

    fn inodes(&self) -> Option<u64> {
        let said = fstatfs(&self.0).ok()?;
        // Without a limit the kernel does not count.
        (said.f_type == TMPFS && said.f_files > 0)
            .then(|| said.f_files.checked_sub(said.f_ffree))?
    }
}
