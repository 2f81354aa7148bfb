//! Control groups: what a container uses, and a group of its own for each call.
//!
//! A call's group carries its limits and its measured peak, and ends all that the call
//! started. All operations are a few small reads and writes and are not worth a thread.

mod burial;
mod call;
mod hierarchy;
mod usage;

use std::{io, path::PathBuf};

pub use call::{CallCgroup, Ended};
pub(super) use hierarchy::HeldProcess;
pub use hierarchy::{CALL_PREFIX, ContainerCgroup};

#[cfg(test)]
pub(super) use hierarchy::freezer_only;

/// A control group that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file of the group cannot be read or written.
    #[error(
        "cannot {action} `{path}`: {source}; remedy: run the broker as root with the host's /sys/fs/cgroup writable"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
    /// The host has no hierarchy for memory or processes.
    #[error(
        "there is no control group of `{controller}` for process {pid}; remedy: mount cgroup v2, or the v1 controllers, at /sys/fs/cgroup"
    )]
    NoController {
        /// Which controller.
        controller: &'static str,
        /// Whose group was looked for.
        pid: i32,
    },
    /// The process is not one of the container's.
    #[error("process {pid} does not belong to the container")]
    Foreign {
        /// Which process.
        pid: i32,
    },
    /// The process ended in the meantime.
    #[error("process {pid} is gone")]
    Gone {
        /// Which process.
        pid: i32,
    },
    /// Processes of the group did not end.
    #[error(
        "processes of `{path}` still live after they were killed; remedy: look for ones in state D, `packctl down` ends the container"
    )]
    Stubborn {
        /// Which group.
        path: PathBuf,
    },
    /// A name that would lead out of the container's group.
    #[error("`{name}` cannot name a control group")]
    Name {
        /// Which.
        name: String,
    },
}

impl CgroupError {
    fn file(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads a file of a group; they are small.
fn read(path: &std::path::Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(CgroupError::file("read", path))
}

/// Writes a file of a group, which must exist: creating one would hide a missing controller.
fn write(path: &std::path::Path, text: &str) -> Result<(), CgroupError> {
    use std::io::Write as _;
    let mut file = std::fs::File::options()
        .write(true)
        .open(path)
        .map_err(CgroupError::file("open", path))?;
    file.write_all(text.as_bytes())
        .map_err(CgroupError::file("write", path))
}

/// A number in a file; `max` and the v1 way of saying "no limit" are `None`.
fn number(text: &str) -> Option<u64> {
    const NO_LIMIT: u64 = i64::MAX as u64 >> 12 << 12;
    text.trim().parse().ok().filter(|number| *number < NO_LIMIT)
}

/// The value after a key in a file of `key value` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_keys_are_read_as_the_kernel_writes_them() {
        assert_eq!(number("4096\n"), Some(4096));
        assert_eq!(number("max\n"), None);
        assert_eq!(number("9223372036854771712\n"), None);
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "max"), None);
    }
}
