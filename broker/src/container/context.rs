//! A pack's directory, read once: what is hashed is what is built.

use std::{
    ffi::CString,
    io::{self, Read as _},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};

use super::digest::{Digest, NoSha256};

/// Entries of one pack.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of one pack. It is code; data belongs into the work area.
const MAX_BYTES: u64 = 64 << 20;
/// Directories within directories.
const MAX_DEPTH: usize = 32;
/// Left out wherever they lie: made by tools, not part of a pack.
const SKIPPED: [&str; 5] = [
    ".git",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
];

/// Why a directory cannot be a pack.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Reading failed.
    #[error(
        "cannot read `{path}`: {source}; remedy: check that it exists and that root may read it"
    )]
    Read {
        /// Which path.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// Something other than a file, directory or symlink.
    #[error(
        "`{path}` is a {kind}; remedy: a pack holds regular files, directories and symlinks within itself only, remove it"
    )]
    Kind {
        /// Which path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A symlink out of the pack.
    #[error(
        "`{path}` is a symlink to `{target}`, outside of the pack; remedy: copy the file into the pack"
    )]
    Link {
        /// Which path.
        path: PathBuf,
        /// Where it leads.
        target: String,
    },
    /// A name that archives and logs cannot carry safely.
    #[error("`{}` has a name that is not UTF-8 or has control characters; remedy: rename it", .path.display())]
    Name {
        /// Which path.
        path: PathBuf,
    },
    /// More than a pack may hold.
    #[error(
        "`{path}` holds more than {limit}; remedy: keep data out of the pack, its work area is /workspace"
    )]
    TooLarge {
        /// The pack's directory.
        path: PathBuf,
        /// Which bound.
        limit: String,
    },
    /// The linked libraries lack a hash.
    #[error(transparent)]
    Hash(#[from] NoSha256Public),
}

/// See [`ContextError::Hash`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the linked TLS library has no SHA-256; remedy: report this build of the broker")]
pub struct NoSha256Public;

impl From<NoSha256> for ContextError {
    fn from(_: NoSha256) -> Self {
        Self::Hash(NoSha256Public)
    }
}

/// What lies at one path of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A directory, listed so that empty ones are kept.
    Directory,
    /// A regular file.
    File {
        /// Whether its owner may execute it; all other mode bits are the image's business.
        executable: bool,
        /// All of it.
        content: Vec<u8>,
    },
    /// A symlink within the pack.
    Link(String),
}

/// A pack's directory in memory, sorted by path. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    entries: Arc<[(String, Entry)]>,
}

/// What lies at one path, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its size.
        bytes: u64,
        /// SHA-256 of its content, as other programs give it.
        sha256: String,
    },
    /// A symlink within the pack.
    Link {
        /// Where it leads.
        target: String,
    },
}

impl Context {
    /// Reads the directory without following any symlink. It takes its time: not for a thread
    /// that others wait for.
    ///
    /// # Errors
    /// When something in it is not fit for a pack, or cannot be read.
    pub fn read(directory: &Path) -> Result<Self, ContextError> {
        let root = openat(
            CWD,
            directory,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let root = root.map_err(|source| read_error(directory)(source.into()))?;
        let mut reader = Reader {
            base: directory,
            entries: Vec::new(),
            bytes: 0,
        };
        reader.directory(&root, "", 0)?;
        let mut entries = reader.entries;
        entries.sort_by(|(one, _), (two, _)| one.cmp(two));
        Ok(Self {
            entries: entries.into(),
        })
    }

    /// One file and nothing else.
    pub(super) fn of_file(name: &str, content: &[u8]) -> Self {
        let file = Entry::File {
            executable: false,
            content: content.to_owned(),
        };
        Self {
            entries: [(name.to_owned(), file)].into(),
        }
    }

    /// All that is in it, by path.
    ///
    /// # Errors
    /// When the linked libraries lack a hash.
    pub fn list(&self) -> Result<Vec<(String, Listed)>, ContextError> {
        let listed = |entry: &Entry| -> Result<Listed, ContextError> {
            Ok(match entry {
                Entry::Directory => Listed::Directory,
                Entry::Link(target) => Listed::Link {
                    target: target.clone(),
                },
                Entry::File {
                    executable,
                    content,
                } => Listed::File {
                    executable: *executable,
                    bytes: content.len() as u64,
                    sha256: Digest::of(content)?,
                },
            })
        };
        let all = self.entries.iter();
        all.map(|(path, entry)| Ok((path.clone(), listed(entry)?)))
            .collect()
    }

    /// A file's bytes, where there is a regular file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let at = self
            .entries
            .binary_search_by(|(path, _)| path.as_str().cmp(name));
        match self.entries.get(at.ok()?) {
            Some((_, Entry::File { content, .. })) => Some(content),
            _ => None,
        }
    }

    /// Adds all entries to a digest. Times and owners are not in it: `touch` changes nothing.
    pub(super) fn digest(&self, digest: &mut Digest) {
        for (path, entry) in self.entries.iter() {
            digest.part(path.as_bytes());
            match entry {
                Entry::Directory => digest.part(b"directory"),
                Entry::File {
                    executable,
                    content,
                } => digest
                    .part(if *executable { b"program" } else { b"file" })
                    .part(content),
                Entry::Link(target) => digest.part(b"link").part(target.as_bytes()),
            };
        }
    }

    /// Appends all entries below `prefix` to an archive that is the same for the same content.
    pub(super) fn append<W: io::Write>(
        &self,
        archive: &mut tar::Builder<W>,
        prefix: &str,
    ) -> io::Result<()> {
        for (path, entry) in self.entries.iter() {
            append(archive, &format!("{prefix}{path}"), entry)?;
        }
        Ok(())
    }
}

/// Appends one entry with a fixed owner and time.
pub(super) fn append<W: io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    entry: &Entry,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Entry::File {
            executable,
            content,
        } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice())
        }
        Entry::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, target)
        }
    }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> ContextError {
    move |source| ContextError::Read {
        path: path.to_owned(),
        source,
    }
}

struct Reader<'a> {
    base: &'a Path,
    entries: Vec<(String, Entry)>,
    bytes: u64,
}

impl Reader<'_> {
    fn directory(&mut self, fd: &OwnedFd, prefix: &str, depth: usize) -> Result<(), ContextError> {
        let here = self.base.join(prefix);
        if depth > MAX_DEPTH {
            return Err(self.too_large(format!("{MAX_DEPTH} levels of directories")));
        }
        let listing = Dir::read_from(fd).map_err(|source| read_error(&here)(source.into()))?;
        for found in listing {
            let found = found.map_err(|source| read_error(&here)(source.into()))?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let text = name
                .to_str()
                .ok()
                .filter(|name| !name.contains(char::is_control));
            let text = text.ok_or_else(|| ContextError::Name {
                path: here.join(name.to_string_lossy().as_ref()),
            })?;
            if SKIPPED.contains(&text) {
                continue;
            }
            if self.entries.len() >= MAX_ENTRIES {
                return Err(self.too_large(format!("{MAX_ENTRIES} files and directories")));
            }
            self.entry(fd, &name.to_owned(), &format!("{prefix}{text}"), depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        path: &str,
        depth: usize,
    ) -> Result<(), ContextError> {
        let full = self.base.join(path);
        let failed = |source: rustix::io::Errno| read_error(&full)(source.into());
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(parent, name, flags, Mode::empty()).map_err(failed)?;
                self.entries.push((path.to_owned(), Entry::Directory));
                return self.directory(&fd, &format!("{path}/"), depth.saturating_add(1));
            }
            FileType::RegularFile => self.file(parent, name, &full)?,
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).map_err(failed)?;
                let target = target.to_string_lossy().into_owned();
                if !stays_inside(path, &target) {
                    return Err(ContextError::Link { path: full, target });
                }
                Entry::Link(target)
            }
            kind => {
                return Err(ContextError::Kind {
                    kind: kind_name(kind),
                    path: full,
                });
            }
        };
        self.entries.push((path.to_owned(), entry));
        Ok(())
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        full: &Path,
    ) -> Result<Entry, ContextError> {
        let failed = |source: rustix::io::Errno| read_error(full)(source.into());
        // NONBLOCK: a FIFO put in the file's place must not hold the build for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(fd.as_fd()).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(ContextError::Kind {
                kind: kind_name(kind),
                path: full.to_owned(),
            });
        }
        let room = MAX_BYTES.saturating_sub(self.bytes);
        let mut content = Vec::new();
        let mut limited = std::fs::File::from(fd).take(room.saturating_add(1));
        limited
            .read_to_end(&mut content)
            .map_err(read_error(full))?;
        self.bytes = self.bytes.saturating_add(content.len() as u64);
        if self.bytes > MAX_BYTES {
            return Err(self.too_large(format!("{} MiB", MAX_BYTES >> 20)));
        }
        Ok(Entry::File {
            executable: stat.st_mode & 0o100 != 0,
            content,
        })
    }

    fn too_large(&self, limit: String) -> ContextError {
        ContextError::TooLarge {
            path: self.base.to_owned(),
            limit,
        }
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Directory => "directory that was a file a moment ago",
        _ => "thing of an unknown kind",
    }
}

/// Whether a link's target, taken by its letters, stays in the pack. Nothing follows the
/// link on the host, so links through other links need no resolving here.
fn stays_inside(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => depth = depth.saturating_add(1),
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.is_empty() && !target.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn pack() -> tempfile::TempDir {
        let pack = tempfile::tempdir().unwrap();
        fs::write(pack.path().join("tool.py"), "def run(args): return {}\n").unwrap();
        fs::create_dir_all(pack.path().join("lib/__pycache__")).unwrap();
        fs::write(pack.path().join("lib/a.py"), "A = 1\n").unwrap();
        fs::write(pack.path().join("lib/__pycache__/a.pyc"), "x").unwrap();
        symlink("lib/a.py", pack.path().join("a.py")).unwrap();
        pack
    }

    fn hash(pack: &Path) -> String {
        let mut digest = Digest::new().unwrap();
        Context::read(pack).unwrap().digest(&mut digest);
        digest.hex()
    }

    fn archive(pack: &Path) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        Context::read(pack)
            .unwrap()
            .append(&mut builder, "pack/")
            .unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_same_content_gives_the_same_archive() {
        let one = pack();
        let two = pack();
        assert_eq!(archive(one.path()), archive(two.path()));
        assert_eq!(hash(one.path()), hash(two.path()));
        let context = Context::read(one.path()).unwrap();
        let paths: Vec<_> = context
            .entries
            .iter()
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(paths, ["a.py", "lib", "lib/a.py", "tool.py"]);
        assert_eq!(context.file("lib/a.py"), Some(&b"A = 1\n"[..]));
        assert_eq!(context.file("lib"), None);
    }

    #[test]
    fn touch_changes_nothing_and_one_byte_does() {
        let pack = pack();
        let before = hash(pack.path());
        let file = pack.path().join("tool.py");
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(100);
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(hash(pack.path()), before);
        fs::write(&file, "def run(args): return []\n").unwrap();
        let changed = hash(pack.path());
        assert_ne!(changed, before);
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(hash(pack.path()), changed);
    }

    #[test]
    fn what_cannot_be_in_a_pack_is_refused_by_name() {
        type Spoil = fn(&Path);
        let cases: [(&str, Spoil); 8] = [
            ("outside of the pack", |p| {
                symlink("/etc/passwd", p.join("bad")).unwrap()
            }),
            ("outside of the pack", |p| {
                symlink("../other", p.join("bad")).unwrap()
            }),
            ("outside of the pack", |p| {
                symlink("../../other", p.join("lib/bad")).unwrap()
            }),
            ("outside of the pack", |p| {
                symlink("x/../../../y", p.join("lib/bad")).unwrap()
            }),
            ("is a FIFO", |p| {
                rustix::fs::mknodat(CWD, p.join("bad"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            }),
            ("is a device", |p| {
                let zero = rustix::fs::makedev(1, 5);
                rustix::fs::mknodat(
                    CWD,
                    p.join("bad"),
                    FileType::CharacterDevice,
                    Mode::RUSR,
                    zero,
                )
                .unwrap();
            }),
            ("is a socket", |p| {
                std::os::unix::net::UnixListener::bind(p.join("bad")).unwrap();
            }),
            ("control characters", |p| {
                fs::write(p.join("ba\nd"), "").unwrap()
            }),
        ];
        for (wanted, spoil) in cases {
            let pack = pack();
            spoil(pack.path());
            let message = Context::read(pack.path()).unwrap_err().to_string();
            assert!(
                message.contains(wanted) && message.contains("remedy"),
                "{message}"
            );
        }
    }

    #[test]
    fn packs_are_bounded() {
        let large = pack();
        let file = fs::File::create(large.path().join("data")).unwrap();
        file.set_len(MAX_BYTES).unwrap();
        assert!(
            Context::read(large.path())
                .unwrap_err()
                .to_string()
                .contains("64 MiB")
        );
        let many = pack();
        for number in 0..MAX_ENTRIES {
            fs::write(many.path().join(number.to_string()), "").unwrap();
        }
        assert!(
            Context::read(many.path())
                .unwrap_err()
                .to_string()
                .contains("10000 files")
        );
        let deep = pack();
        fs::create_dir_all(deep.path().join("d/".repeat(MAX_DEPTH + 2))).unwrap();
        assert!(
            Context::read(deep.path())
                .unwrap_err()
                .to_string()
                .contains("32 levels")
        );
    }
}
