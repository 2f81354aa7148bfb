//! Mounts that the broker makes on the host: checked directories for sandboxes, the shared
//! parent of the packs' socket directories, and the reading of the mount table.

use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind, mount_change,
    move_mount, open_tree, unmount,
};

/// A mount that could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {action} `{path}`: {source}; remedy: run the broker as root, outside of containers that may not mount"
)]
pub struct MountError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    move |source| MountError {
        action,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountLine {
    /// Directory of the file system that is shown.
    pub(super) root: PathBuf,
    /// Where it is shown.
    pub(super) point: PathBuf,
    /// Whether mounts below it appear in its peers.
    pub(super) shared: bool,
    /// Kind of file system.
    pub(super) kind: String,
    /// Options of the file system, such as a cgroup's controllers.
    pub(super) options: String,
}

/// Reads the mount table of this process.
pub(super) fn table() -> Result<Vec<MountLine>, MountError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(failed("read", path))?;
    Ok(text.lines().filter_map(parse_line).collect())
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/x rw,errors=continue`
fn parse_line(line: &str) -> Option<MountLine> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let root = unescape(left.next()?);
    let point = unescape(left.next()?);
    let shared = left.skip(1).any(|field| field.starts_with("shared:"));
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let options = right.nth(1)?.to_owned();
    Some(MountLine {
        root,
        point,
        shared,
        kind,
        options,
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut text = field.to_owned();
    for (code, plain) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        text = text.replace(code, plain);
    }
    text.into()
}

/// Makes the directory a shared mount of its own, once. What is mounted below it later
/// appears in containers that hold it as a slave.
///
/// # Errors
/// When the kernel refuses.
pub fn make_shared(directory: &Path) -> Result<(), MountError> {
    let found = table()?
        .into_iter()
        .rev()
        .find(|line| line.point == directory);
    if found.is_none() {
        mount_bind(directory, directory).map_err(failed("bind", directory))?;
    }
    if !found.is_some_and(|line| line.shared) {
        mount_change(directory, MountPropagationFlags::SHARED)
            .map_err(failed("share", directory))?;
    }
    Ok(())
}

/// A checked directory, shown at a path that only root can reach. The engine wants a path,
/// and a path can come to mean something else after it was checked; this one cannot.
#[derive(Debug)]
pub(super) struct CheckedMount {
    point: PathBuf,
}

impl CheckedMount {
    /// Shows the directory behind the descriptor as `parent/name`.
    pub(super) fn show(
        directory: impl AsFd,
        parent: &Path,
        name: &str,
    ) -> Result<Self, MountError> {
        let point = parent.join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&point)
            .map_err(failed("make", &point))?;
        let checked = Self { point };
        // Not recursive: what is mounted below the directory was not checked.
        let tree = open_tree(
            directory.as_fd(),
            c"",
            OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH,
        )
        .map_err(failed("clone the mount for", &checked.point))?;
        move_mount(
            tree.as_fd(),
            c"",
            rustix::fs::CWD,
            &checked.point,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .map_err(failed("mount", &checked.point))?;
        Ok(checked)
    }

    pub(super) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for CheckedMount {
    /// The container holds a mount of its own by then; what fails here is found by
    /// [`clear`] at the next start.
    fn drop(&mut self) {
        if let Err(error) = clear_one(&self.point) {
            tracing::warn!(%error, "a sandbox mount is left");
        }
    }
}

fn clear_one(point: &Path) -> Result<(), MountError> {
    match unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: nothing is mounted there.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(failed("unmount", point)(error)),
    }
    match fs::remove_dir(point) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", point)(error))
        }
        _ => Ok(()),
    }
}

/// Removes all mounts that an earlier broker left below the directory; their number.
pub(super) fn clear(parent: &Path) -> Result<usize, MountError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed("list", parent)(error)),
    };
    let mut cleared = 0;
    for entry in entries {
        let entry = entry.map_err(failed("list", parent))?;
        clear_one(&entry.path())?;
        cleared += 1;
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_mount_table_are_understood() {
        let line = "36 35 98:0 /a /mnt/with\\040space rw,noatime shared:1 master:2 - cgroup cg rw,cpu,cpuacct";
        assert_eq!(
            parse_line(line),
            Some(MountLine {
                root: "/a".into(),
                point: "/mnt/with space".into(),
                shared: true,
                kind: "cgroup".into(),
                options: "rw,cpu,cpuacct".into(),
            })
        );
        let private = parse_line("36 35 98:0 / /x rw - ext4 /dev/a rw").unwrap();
        assert!(!private.shared);
        assert_eq!(parse_line("nonsense"), None);
    }

    #[test]
    fn a_checked_directory_stays_what_it_was_when_its_path_is_swapped() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("mark"), "real").unwrap();
        let checked = fs::File::open(&real).unwrap();
        fs::rename(&real, home.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("/etc", &real).unwrap();
        let mounts = home.path().join("mounts");
        fs::create_dir(&mounts).unwrap();
        let shown = CheckedMount::show(&checked, &mounts, "one").unwrap();
        assert_eq!(
            fs::read_to_string(shown.path().join("mark")).unwrap(),
            "real"
        );
        drop(shown);
        assert_eq!(fs::read_dir(&mounts).unwrap().count(), 0);
        assert!(home.path().join("moved/mark").exists());
    }

    #[test]
    fn mounts_of_a_dead_broker_are_cleared_and_their_content_stays() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real");
        fs::create_dir(&real).unwrap();
        fs::write(real.join("mark"), "real").unwrap();
        let mounts = home.path().join("mounts");
        fs::create_dir(&mounts).unwrap();
        let shown = CheckedMount::show(fs::File::open(&real).unwrap(), &mounts, "one").unwrap();
        std::mem::forget(shown);
        assert_eq!(clear(&mounts).unwrap(), 1);
        assert_eq!(clear(&mounts).unwrap(), 0);
        assert!(real.join("mark").exists());
    }

    #[test]
    fn sharing_twice_mounts_once() {
        let home = tempfile::tempdir().unwrap();
        let point = fs::canonicalize(home.path()).unwrap();
        make_shared(&point).unwrap();
        make_shared(&point).unwrap();
        let lines = table().unwrap();
        let mine: Vec<_> = lines.iter().filter(|line| line.point == point).collect();
        assert_eq!(mine.len(), 1);
        assert!(mine[0].shared);
        unmount(&point, UnmountFlags::DETACH).unwrap();
    }
}
