//! Empties what the calls of a component left behind in shared scratch directories.
//!
//! The trees are hostile: links, missing permissions, any depth, any number. Nothing is
//! opened by a path of more than one step, no link is followed, and no recursion grows
//! with the tree: what lies deeper is lifted up before it is deleted.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, chmodat, openat,
        renameat_with, statat, unlinkat,
    },
    io::Errno,
};

/// Names read at once; a directory of millions must not become memory of ours.
const BATCH: usize = 4096;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) removed: u64,
    /// What could not be removed, as far as it was seen.
    pub(crate) left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`")]
pub(crate) struct WipeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Deletes everything in `directory` that `uid` owns, until `deadline`. With milliseconds of the
/// epoch, only what nobody touched since then; with an entry goes what lies below it.
pub(crate) fn wipe(
    directory: &Path,
    uid: u32,
    untouched_since: Option<u64>,
    deadline: Instant,
) -> Result<Summary, WipeError> {
    let failed = |source: Errno| WipeError {
        path: directory.to_owned(),
        source: source.into(),
    };
    let top = match openat(CWD, directory, DIRECTORY, Mode::empty()) {
        Ok(top) => top,
        // A container without shared memory has no /dev/shm.
        Err(Errno::NOENT) => return Ok(Summary::default()),
        Err(error) => return Err(failed(error)),
    };
    let mut wiper = Wiper {
        uid,
        untouched_since,
        deadline,
        summary: Summary::default(),
        names: 0,
    };
    loop {
        let entries = wiper.owned(top.as_fd()).map_err(failed)?;
        let before = wiper.summary.removed;
        let seen = entries.len();
        for entry in entries {
            wiper.remove(top.as_fd(), &entry);
        }
        // A full batch may have hidden more; without progress there is no more to do.
        let done = wiper.summary.removed == before || seen < BATCH;
        if done || wiper.is_late() {
            break;
        }
        wiper.summary.left = 0;
    }
    Ok(wiper.summary)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

struct Entry {
    name: CString,
    directory: bool,
}

struct Wiper {
    uid: u32,
    untouched_since: Option<u64>,
    deadline: Instant,
    summary: Summary,
    /// Counts the names given to what was lifted.
    names: u64,
}

impl Wiper {
    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// The change time of a file cannot be set by whoever owns it.
    fn is_in_use(&self, status: &Stat) -> bool {
        self.untouched_since.is_some_and(|since| {
            let seconds = u64::try_from(status.st_ctime).unwrap_or(u64::MAX);
            let changed = seconds
                .saturating_mul(1_000)
                .saturating_add(status.st_ctime_nsec / 1_000_000);
            changed >= since
        })
    }

    /// What our user owns directly below a directory that others use too.
    fn owned(&self, top: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
        let mut owned = Vec::new();
        for item in Dir::read_from(top)? {
            let item = item?;
            let name = item.file_name();
            if is_dots(name) {
                continue;
            }
            // Gone since it was listed, or not ours to see.
            let Ok(status) = statat(top, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if status.st_uid != self.uid || self.is_in_use(&status) {
                continue;
            }
            owned.push(Entry {
                name: name.to_owned(),
                directory: FileType::from_raw_mode(status.st_mode).is_dir(),
            });
            if owned.len() == BATCH {
                break;
            }
        }
        Ok(owned)
    }

    fn remove(&mut self, parent: BorrowedFd<'_>, entry: &Entry) {
        let removed = if entry.directory {
            self.remove_directory(parent, &entry.name)
        } else {
            unlinkat(parent, &entry.name, AtFlags::empty()).is_ok()
        };
        self.count(removed);
    }

    fn count(&mut self, removed: bool) {
        if removed {
            self.summary.removed += 1;
        } else {
            self.summary.left += 1;
        }
    }

    /// Empties a directory level by level: what is in its subdirectories is lifted into it.
    fn remove_directory(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> bool {
        let Some(directory) = open_directory(parent, name) else {
            return unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok();
        };
        loop {
            let Ok(entries) = batch(directory.as_fd()) else {
                return false;
            };
            if entries.is_empty() {
                return unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok();
            }
            let mut progress = false;
            for entry in &entries {
                progress |= if entry.directory {
                    self.flatten(directory.as_fd(), &entry.name)
                } else {
                    unlinkat(&directory, &entry.name, AtFlags::empty()).is_ok()
                };
            }
            if !progress || self.is_late() {
                return false;
            }
        }
    }

    /// Removes a subdirectory after lifting its own subdirectories. True when anything changed.
    fn flatten(&mut self, top: BorrowedFd<'_>, name: &CStr) -> bool {
        if unlinkat(top, name, AtFlags::REMOVEDIR).is_ok() {
            return true;
        }
        let Some(directory) = open_directory(top, name) else {
            return false;
        };
        let mut progress = false;
        while let Ok(entries) = batch(directory.as_fd()) {
            let mut moved = false;
            for entry in &entries {
                moved |= if entry.directory {
                    self.lift(directory.as_fd(), &entry.name, top)
                } else {
                    unlinkat(&directory, &entry.name, AtFlags::empty()).is_ok()
                };
            }
            progress |= moved;
            if !moved || self.is_late() {
                break;
            }
        }
        unlinkat(top, name, AtFlags::REMOVEDIR).is_ok() || progress
    }

    fn lift(&mut self, from: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> bool {
        if unlinkat(from, name, AtFlags::REMOVEDIR).is_ok() {
            return true;
        }
        // Moving a directory writes its `..`, so it must be writable to us.
        make_accessible(from, name);
        // The tree may hold our names already; then the next one is free.
        for _ in 0..64 {
            self.names += 1;
            let free = format!(".rumi-wipe-{}", self.names);
            match renameat_with(from, name, top, free.as_str(), RenameFlags::NOREPLACE) {
                Ok(()) => return true,
                Err(Errno::EXIST) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// The first entries of a directory; names that are gone again do no harm.
fn batch(directory: BorrowedFd<'_>) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    for item in Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name();
        if is_dots(name) {
            continue;
        }
        let directory = match item.file_type() {
            FileType::Unknown => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_dir()),
            kind => kind.is_dir(),
        };
        entries.push(Entry {
            name: name.to_owned(),
            directory,
        });
        if entries.len() == BATCH {
            break;
        }
    }
    Ok(entries)
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    make_accessible(parent, name);
    openat(parent, name, DIRECTORY, Mode::empty()).ok()
}

/// Gives the owner all rights. On failure the step that needs them fails and says so.
fn make_accessible(parent: BorrowedFd<'_>, name: &CStr) {
    let narrow = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| {
        FileType::from_raw_mode(status.st_mode).is_dir() && status.st_mode & 0o700 != 0o700
    });
    if narrow && chmodat(parent, name, Mode::RWXU, AtFlags::empty()).is_err() {
        // It belongs to somebody else.
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        time::{Duration, SystemTime},
    };

    use super::*;

    fn uid(directory: &Path) -> u32 {
        fs::metadata(directory).unwrap().uid()
    }

    fn wiped(directory: &Path) -> Summary {
        let deadline = Instant::now() + Duration::from_secs(60);
        wipe(directory, uid(directory), None, deadline).unwrap()
    }

    fn is_empty(directory: &Path) -> bool {
        fs::read_dir(directory).unwrap().next().is_none()
    }

    #[test]
    fn removes_files_of_every_kind_and_follows_no_link() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::write(root.join("file"), "x").unwrap();
        symlink(outside.path(), root.join("link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        symlink(outside.path(), root.join("a/b/link")).unwrap();
        fs::write(root.join("a/b/c/.rumi-wipe-1"), "x").unwrap();
        fs::create_dir_all(root.join("a/.rumi-wipe-1/x/y/z")).unwrap();
        fs::create_dir_all(root.join("closed/in")).unwrap();
        fs::set_permissions(root.join("closed/in"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
        assert_eq!(wiped(root).left, 0);
        assert!(is_empty(root));
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn depth_and_number_are_no_hiding_places() {
        // What is wiped is memory; on a disk the making of this tree takes half a minute.
        let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = scratch.path();
        for number in 0..BATCH + 10 {
            fs::write(root.join(format!("file-{number}")), "").unwrap();
        }
        // Far beyond what a path, the stack or the table of descriptors holds.
        let mut level = openat(CWD, root, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&level, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&level, "e", Mode::RWXU).unwrap();
            level = openat(&level, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(wiped(root).left, 0);
        assert!(is_empty(root));
    }

    #[test]
    fn leaves_what_belongs_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for name in ["mine", "other"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("file"), "x").unwrap();
        }
        let other = uid(root) + 200_000;
        chown(root.join("other"), Some(other), None).expect("this test needs root");
        wiped(root);
        assert!(!root.join("mine").exists());
        assert!(root.join("other/file").exists());
    }

    #[test]
    fn leaves_what_was_touched_since_then() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for name in ["old", "renamed", "written"] {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("file"), "x").unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        let since = SystemTime::now() - Duration::from_millis(150);
        fs::rename(root.join("renamed"), root.join("new")).unwrap();
        fs::write(root.join("written/more"), "x").unwrap();
        fs::write(root.join("made"), "x").unwrap();
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let since = u64::try_from(since.as_millis()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let summary = wipe(root, uid(root), Some(since), deadline).unwrap();
        assert_eq!((summary.removed, summary.left), (1, 0));
        assert!(!root.join("old").exists());
        for name in ["new/file", "written/file", "made"] {
            assert!(root.join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_missing_directory_is_empty_already() {
        let summary = wipe(Path::new("/does/not/exist"), 0, None, Instant::now()).unwrap();
        assert_eq!(summary, Summary::default());
    }
}
