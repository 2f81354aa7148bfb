//! Keeps the first bytes of what a program prints and lets the rest run through, so that nobody who
//! prints ever waits for a reader.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::{Errno, ioctl_fionbio, read},
    pipe::fcntl_setpipe_size,
};

/// Bytes in a pipe. The user's share may be used up; a smaller pipe does as well.
const PIPE: usize = 256 * 1024;
const READ: usize = 64 * 1024;

/// stdout or stderr.
#[derive(Debug)]
pub(super) struct Stream {
    source: OwnedFd,
    kept: Vec<u8>,
    limit: usize,
    truncated: bool,
    open: bool,
}

impl Stream {
    pub(super) fn new(source: OwnedFd, limit: usize) -> io::Result<Self> {
        ioctl_fionbio(&source, true)?;
        fcntl_setpipe_size(&source, PIPE).ok();
        Ok(Self {
            source,
            kept: Vec::new(),
            limit,
            truncated: false,
            open: true,
        })
    }

    /// To be read from, unless nobody writes there any more.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.source.as_fd())
    }

    /// Reads once. True when there may be more.
    pub(super) fn take(&mut self) -> bool {
        let mut buffer = [0; READ];
        let count = match read(&self.source, &mut buffer) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => 0,
        };
        let data = buffer.get(..count).unwrap_or_default();
        let room = self.limit.saturating_sub(self.kept.len());
        self.truncated |= data.len() > room;
        self.kept.extend(data.iter().take(room));
        self.open = count > 0;
        self.open
    }

    /// Something that the program is to hear of.
    pub(super) fn note(&mut self, line: &str) {
        self.kept.extend_from_slice(line.as_bytes());
        self.kept.push(b'\n');
    }

    /// Empties what is in the pipe now. Once the limit is reached, a writer that never stops must not
    /// hold us here.
    pub(super) fn finish(&mut self) {
        while self.open && !self.truncated && self.take() {}
    }
}

/// Both, as they are told to the broker.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
}

impl Output {
    pub(super) fn of(stdout: &mut Stream, stderr: &mut Stream) -> Self {
        stdout.finish();
        stderr.finish();
        Self {
            stdout: std::mem::take(&mut stdout.kept),
            stderr: std::mem::take(&mut stderr.kept),
            truncated: stdout.truncated || stderr.truncated,
        }
    }

    /// What is shown of it where both do not fit.
    pub(super) fn cut(&mut self, limit: usize) {
        self.truncated |= self.stdout.len() > limit || self.stderr.len() > limit;
        self.stdout.truncate(limit);
        self.stderr.truncate(limit);
    }

    /// The last line on stderr that says something, which is most often the reason.
    pub(super) fn last_words(&self) -> Option<String> {
        const SHOWN: usize = 300;
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().take(SHOWN).collect())
    }
}
