//! Reads the directory of handlers. The files are data here: nothing in them is run.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rumi_policy::HandlerName;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};

/// Largest file of a handler, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Handlers of one broker.
const MAX_HANDLERS: usize = 256;

/// What a handler is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) code: Vec<u8>,
    /// The list of wheels beside it.
    pub(super) requirements: Option<Vec<u8>>,
}

/// What lies under a handler's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sourced {
    /// Nothing, or nothing any more.
    Gone,
    /// A file that is not read, and why.
    Refused(String),
    File(Source),
}

/// A file that cannot be a handler, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Its name, as it may be shown.
    pub file: String,
    /// Why it is no handler.
    pub why: String,
}

/// The directory as it is now.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) handlers: BTreeMap<HandlerName, Sourced>,
    pub(super) strangers: Vec<Stranger>,
}

/// Looks at all files. A directory that is not there holds no handlers.
pub(super) fn scan(directory: &Path) -> Scan {
    let mut found = Scan::default();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match openat(CWD, directory, flags, Mode::empty()) {
        Ok(root) => root,
        Err(rustix::io::Errno::NOENT) => return found,
        Err(error) => {
            found.strangers.push(Stranger {
                file: directory.display().to_string(),
                why: format!("the directory of handlers cannot be read: {error}"),
            });
            return found;
        }
    };
    let entries = Dir::read_from(&root).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") || !name.ends_with(b".py") {
            continue;
        }
        let shown = String::from_utf8_lossy(name).escape_debug().to_string();
        let stem = name
            .strip_suffix(b".py")
            .and_then(|stem| str::from_utf8(stem).ok());
        let parsed = stem.unwrap_or("\u{fffd}").parse::<HandlerName>();
        let handler = match parsed {
            Ok(_) if found.handlers.len() >= MAX_HANDLERS => Err(format!(
                "there are {MAX_HANDLERS} handlers already; take some away"
            )),
            Ok(handler) => Ok(handler),
            Err(error) => Err(format!("{error}; rename the file")),
        };
        match handler {
            Ok(handler) => {
                let sourced = read(&root, &handler).map_or_else(
                    |why| Sourced::Refused(format!("docker/handlers/{why}")),
                    |source| source.map_or(Sourced::Gone, Sourced::File),
                );
                found.handlers.insert(handler, sourced);
            }
            Err(why) => found.strangers.push(Stranger { file: shown, why }),
        }
    }
    found.strangers.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

fn read(root: &rustix::fd::OwnedFd, handler: &HandlerName) -> Result<Option<Source>, String> {
    let Some(code) = file(root, &format!("{handler}.py"))? else {
        return Ok(None);
    };
    Ok(Some(Source {
        code,
        requirements: file(root, &format!("{handler}.requirements.txt"))?,
    }))
}

/// A regular file's bytes; nothing where there is none. A symlink is not followed: what it
/// names may belong to somebody who must not write handlers.
fn file(root: &rustix::fd::OwnedFd, name: &str) -> Result<Option<Vec<u8>>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match openat(root, name, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(format!("{name} is a symlink; put the file itself there"));
        }
        Err(error) => return Err(format!("{name} cannot be opened: {error}")),
    };
    let kind = fstat(&handle).map(|status| FileType::from_raw_mode(status.st_mode));
    if kind != Ok(FileType::RegularFile) {
        return Err(format!("{name} is no regular file"));
    }
    let mut bytes = Vec::new();
    let read: io::Result<usize> = File::from(handle)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes);
    match read {
        Ok(size) if u64::try_from(size).is_ok_and(|size| size <= MAX_BYTES) => Ok(Some(bytes)),
        Ok(_) => Err(format!("{name} is larger than {MAX_BYTES} bytes")),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn only_plain_files_of_proper_names_are_handlers() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("clock.py"), "x").unwrap();
        std::fs::write(at("clock.requirements.txt"), "a==1").unwrap();
        std::fs::write(at("README.md"), "x").unwrap();
        std::fs::write(at(".hidden.py"), "x").unwrap();
        std::fs::write(at("notes.py~"), "x").unwrap();
        std::fs::create_dir(at("__pycache__")).unwrap();
        for bad in [
            "Clock.py",
            "file_read.py",
            "a-b.py",
            "ｃ.py",
            "a\nb.py",
            "1.py",
            ".py.py",
        ] {
            std::fs::write(at(bad), "x").unwrap();
        }
        symlink("/etc/passwd", at("link.py")).unwrap();
        symlink("clock.py", at("near.py")).unwrap();
        std::fs::create_dir(at("folder.py")).unwrap();
        let _socket = UnixListener::bind(at("socket.py")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe.py"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::fs::write(at("large.py"), vec![b'#'; (1 << 20) + 1]).unwrap();
        let found = scan(root.path());
        let get = |name: &str| found.handlers.get(&name.parse::<HandlerName>().unwrap());
        assert_eq!(
            get("clock"),
            Some(&Sourced::File(Source {
                code: b"x".to_vec(),
                requirements: Some(b"a==1".to_vec()),
            }))
        );
        for bad in ["link", "near", "folder", "socket", "pipe", "large"] {
            assert!(matches!(get(bad), Some(Sourced::Refused(_))), "{bad}");
        }
        assert_eq!(found.handlers.len(), 7);
        assert_eq!(found.strangers.len(), 6, "{:?}", found.strangers);
        assert!(
            found
                .strangers
                .iter()
                .all(|stranger| !stranger.file.contains('\n'))
        );
        assert!(scan(&at("nothing")).handlers.is_empty());
    }
}
