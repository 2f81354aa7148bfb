//! Reads the policy's files. Whatever cannot be read is passed on as a file that
//! cannot be valid, because a missing grant and an unreadable one are different things.

use std::{fs::File, io::Read as _, path::Path};

use rumi_policy::{AbsPath, MAX_FILE_BYTES, PolicySource, SourceFile};

use crate::layout::Layout;

/// All files of both directories, as they are now.
pub(super) fn read(layout: &Layout, protected: Vec<AbsPath>) -> PolicySource {
    PolicySource {
        grants: directory(&layout.grants()),
        scopes: directory(&layout.scopes()),
        protected,
    }
}

fn directory(path: &Path) -> Vec<SourceFile> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            // No directory means no grants: everything is denied until it is back.
            tracing::warn!(path = %path.display(), %error, "cannot list a policy directory");
            return Vec::new();
        }
    };
    let mut files: Vec<SourceFile> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let policy = Path::new(&name).extension().is_some_and(|e| e == "json");
            policy.then(|| SourceFile {
                bytes: content(&entry.path()),
                name,
            })
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn content(path: &Path) -> Vec<u8> {
    let limit = u64::try_from(MAX_FILE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if let Err(error) = read {
        tracing::error!(path = %path.display(), %error, "cannot read a policy file");
        bytes.clear();
    }
    bytes
}
