//! One component's account on disk: lines of JSON that are only ever added to, and now and then
//! written anew.
//!
//! A line is with the kernel before the change that it is about begins, so an account survives
//! the end of the broker at any moment.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rumi_policy::Usage;
use serde::{Deserialize, Serialize};

use super::Inode;

/// Lines beyond those that are needed, after which the file is written anew.
const SPARE_LINES: usize = 1024;
/// Bytes beyond twice those that were needed, after which it is too, however few lines they are.
const SPARE_BYTES: u64 = 4 * 1024 * 1024;
/// Moved directories, after which it is too: each is applied to all files when it is read.
const MOVES: usize = 256;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    /// Something is about to be made or grown at this path.
    Begin {
        id: u64,
        path: Cow<'a, str>,
        /// What is there before, and its size.
        before: Option<(Inode, u64)>,
    },
    /// It is over, whether or not it came to anything.
    End { id: u64 },
    /// What this component has of a file, from now on; nothing where both numbers are 0.
    Has {
        inode: Inode,
        path: Cow<'a, str>,
        /// Size of the whole file.
        size: u64,
        bytes: u64,
        files: u64,
    },
    /// A directory has another path, and with it all that this component has in it.
    Moved {
        from: Cow<'a, str>,
        to: Cow<'a, str>,
    },
}

/// What the lines of a file come to.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) lines: Vec<Line<'static>>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    lines: usize,
    moves: usize,
    /// Length when it was last written anew.
    needed_length: u64,
}

impl Line<'_> {
    pub(super) fn has(inode: Inode, path: &str, size: u64, share: Usage) -> Line<'_> {
        Line::Has {
            inode,
            path: path.into(),
            size,
            bytes: share.bytes,
            files: share.files,
        }
    }
}

impl Journal {
    /// Opens the file, or makes it, and reads what it says. A last line that was not finished is
    /// cut off: what it announced had not begun.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Entries)> {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let bytes = fs::read(path)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let mut entries = Entries::default();
        let text = bytes.get(..whole).unwrap_or_default();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let line = serde_json::from_slice(line).map_err(|error| {
                let message = format!("line {} is not valid: {error}", number + 1);
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            entries.lines.push(line);
        }
        let length = u64::try_from(whole).unwrap_or(u64::MAX);
        if whole < bytes.len() {
            file.set_len(length)?;
        }
        let journal = Self {
            path: path.to_owned(),
            file,
            length,
            lines: entries.lines.len(),
            moves: moves(&entries.lines),
            needed_length: 0,
        };
        Ok((journal, entries))
    }

    /// Adds lines, all of them or none.
    pub(super) fn append(&mut self, lines: &[Line<'_>]) -> io::Result<()> {
        let bytes = spell(lines)?;
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a line in the middle would make the rest unreadable.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length = self
            .length
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.lines += lines.len();
        self.moves += moves(lines);
        Ok(())
    }

    /// Whether most of the lines are history.
    pub(super) fn is_long(&self, needed: usize) -> bool {
        self.lines > needed.saturating_mul(2).saturating_add(SPARE_LINES)
            || self.moves > MOVES
            || self.length
                > self
                    .needed_length
                    .saturating_mul(2)
                    .saturating_add(SPARE_BYTES)
    }

    /// Writes the file anew with these lines alone.
    pub(super) fn rewrite(&mut self, lines: &[Line<'_>]) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        let bytes = spell(lines)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, &self.path)?;
        self.file = File::options().append(true).open(&self.path)?;
        self.length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.lines = lines.len();
        self.moves = moves(lines);
        self.needed_length = self.length;
        Ok(())
    }
}

fn moves(lines: &[Line<'_>]) -> usize {
    let moved = |line: &&Line<'_>| matches!(line, Line::Moved { .. });
    lines.iter().filter(moved).count()
}

fn spell(lines: &[Line<'_>]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
