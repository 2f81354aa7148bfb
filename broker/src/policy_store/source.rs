//! Reads the policy's files. Whatever cannot be read is passed on as a file that
//! cannot be valid, because a missing grant and an unreadable one are different things.

use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt as _, path::Path};

use rumi_policy::{AbsPath, MAX_FILE_BYTES, PolicySource, SourceFile};

use crate::layout::Layout;

/// How often files that change while they are read are read again.
const TRIES: usize = 16;

/// All files of both directories, as they were at one moment: a grant of before and a scope of
/// after a change could together allow what no policy ever did. So they are read until two readings
/// in a row agree. What still changes at the end of the tries is passed on as a file that
/// cannot be valid; the change itself has all of them read anew.
pub(super) fn read(layout: &Layout, protected: Vec<AbsPath>) -> PolicySource {
    let read = || (directory(&layout.grants()), directory(&layout.scopes()));
    let mut last = read();
    for _ in 0..TRIES {
        let next = read();
        if next == last {
            return source(next, protected);
        }
        last = next;
    }
    let next = read();
    let grants = settled(&last.0, next.0);
    let scopes = settled(&last.1, next.1);
    source((grants, scopes), protected)
}

fn source((grants, scopes): (Vec<Reading>, Vec<Reading>), protected: Vec<AbsPath>) -> PolicySource {
    let files = |readings: Vec<Reading>| readings.into_iter().map(|reading| reading.file).collect();
    PolicySource {
        grants: files(grants),
        scopes: files(scopes),
        protected,
    }
}

/// The files of both readings; those that differ are empty.
fn settled(last: &[Reading], mut next: Vec<Reading>) -> Vec<Reading> {
    for reading in &mut next {
        if !last.contains(reading) {
            reading.file.bytes.clear();
        }
    }
    for reading in last {
        if !next
            .iter()
            .any(|other| other.file.name == reading.file.name)
        {
            let mut gone = reading.clone();
            gone.file.bytes.clear();
            next.push(gone);
        }
    }
    next
}

/// A file, and which state of which file it was: one that was changed there and back is another.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    file: SourceFile,
    stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    /// When it was last changed in any way, renamed too, in seconds and nanoseconds.
    changed: (i64, i64),
}

fn directory(path: &Path) -> Vec<Reading> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            // No directory means no grants: everything is denied until it is back.
            tracing::warn!(path = %path.display(), %error, "cannot list a policy directory");
            return Vec::new();
        }
    };
    let mut files: Vec<Reading> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let policy = Path::new(&name).extension().is_some_and(|e| e == "json");
            policy.then(|| {
                let (bytes, stamp) = content(&entry.path());
                let file = SourceFile { name, bytes };
                Reading { file, stamp }
            })
        })
        .collect();
    files.sort_by(|a, b| a.file.name.cmp(&b.file.name));
    files
}

fn content(path: &Path) -> (Vec<u8>, Option<Stamp>) {
    let limit = u64::try_from(MAX_FILE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    });
    match read {
        Ok(stamp) => (bytes, Some(stamp)),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot read a policy file");
            (Vec::new(), None)
        }
    }
}
