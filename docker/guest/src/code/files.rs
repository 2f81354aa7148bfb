//! Files that go into a run, and those that come out of it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    CodeError,
    wire::{Reader, Wire},
};

/// Bytes of a file that are under way at once.
const PIECE: usize = 64 * 1024;
/// Directories that are looked into below each other.
const DEEPEST: usize = 16;

/// Writes one file. The outer error ends the conversation; the inner one is the file's.
pub(super) fn take(reader: &mut Reader, length: usize) -> Result<Result<(), String>, CodeError> {
    let head = reader.content(2)?;
    let named = head
        .first_chunk()
        .map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)));
    let name = String::from_utf8_lossy(&reader.content(named)?).into_owned();
    let path = Path::new(&name);
    let mut written = create(path);
    // What cannot be written is read all the same, or the next frame would not be found.
    reader.pass(length.saturating_sub(named + 2), |piece| {
        if let Ok(file) = &mut written
            && let Err(error) = file.write_all(piece)
        {
            written = Err(error);
        }
    })?;
    Ok(written
        .map(drop)
        .map_err(|error| format!("cannot write `{name}`: {error}")))
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)
}

/// Sends the regular files below a directory, as far as the bounds allow.
pub(super) fn give(wire: &Wire, what: &Value) -> Result<(), CodeError> {
    let bound = |key: &str| what.get(key).and_then(Value::as_u64).unwrap_or(0);
    let top = what.get("directory").and_then(Value::as_str);
    let mut giving = Giving {
        wire,
        top: PathBuf::from(top.unwrap_or_default()),
        files: bound("files"),
        bytes: bound("bytes"),
        left_out: 0,
    };
    let top = giving.top.clone();
    giving.directory(&top, 0)?;
    let end = json!({"left_out": giving.left_out});
    Ok(wire.send(b'x', end.to_string().as_bytes())?)
}

struct Giving<'a> {
    wire: &'a Wire,
    top: PathBuf,
    files: u64,
    bytes: u64,
    left_out: u64,
}

impl Giving<'_> {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), CodeError> {
        let mut entries: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                // A directory that only Python writes into, and nobody reads.
                Ok(kind) if kind.is_dir() && entry.file_name() == "__pycache__" => {}
                Ok(kind) if kind.is_dir() && depth < DEEPEST => self.directory(&path, depth + 1)?,
                Ok(kind) if kind.is_file() => self.file(&path)?,
                // Links lead elsewhere, and whatever else there is has no content.
                _ => self.left_out += 1,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), CodeError> {
        let name = path.strip_prefix(&self.top).unwrap_or(path).to_str();
        let size = fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
        let (Some(name), Ok(mut file)) = (name, File::open(path)) else {
            self.left_out += 1;
            return Ok(());
        };
        if self.files == 0 || size > self.bytes {
            self.left_out += 1;
            return Ok(());
        }
        self.files -= 1;
        self.bytes -= size;
        self.wire.send(b'f', name.as_bytes())?;
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            self.wire
                .send(b'd', buffer.get(..count).unwrap_or_default())?;
        }
        Ok(())
    }
}
