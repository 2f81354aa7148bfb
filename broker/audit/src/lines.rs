//! Reads a segment line by line, in large blocks.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use crate::json::find_newline;
use crate::line::LINE_LIMIT;

const BLOCK: usize = 256 << 10;

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// A line without its newline, behind one byte that is free to be overwritten: the place of the
    /// mark 0x00 that its hash begins with.
    Line(&'a mut [u8]),
    /// Bytes without a newline behind them. Asking again goes on reading, should the file have grown.
    Torn,
    /// More bytes without a newline than a line may have.
    TooLong,
    /// Nothing. Asking again goes on reading, should the file have grown.
    End,
}

/// Reader of one segment.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    block: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    count: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            block: vec![0; BLOCK + LINE_LIMIT],
            start: 1,
            end: 1,
            offset: 0,
            count: 0,
        })
    }

    /// Bytes before the next line.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Lines read so far, which is also the number of the last one.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn pending(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            if let Some(length) = find_newline(self.pending()) {
                if length >= LINE_LIMIT {
                    return Ok(Next::TooLong);
                }
                let marked = self.start - 1..self.start + length;
                self.start += length + 1;
                self.offset += length as u64 + 1;
                self.count += 1;
                return Ok(self.block.get_mut(marked).map_or(Next::End, Next::Line));
            }
            if self.end - self.start >= LINE_LIMIT {
                return Ok(Next::TooLong);
            }
            if self.refill()? == 0 {
                return Ok(if self.start == self.end {
                    Next::End
                } else {
                    Next::Torn
                });
            }
        }
    }

    fn refill(&mut self) -> io::Result<usize> {
        self.block.copy_within(self.start..self.end, 1);
        self.end -= self.start - 1;
        self.start = 1;
        let free = self.block.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.file.read(free) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Trades `spare` for the block that holds all whole lines at hand, behind one free byte; false where there are
    /// none, and [`Lines::next`] tells why. They do not count as read.
    pub(crate) fn take_block(&mut self, spare: &mut Vec<u8>) -> io::Result<bool> {
        self.refill()?;
        let Some(last) = self.pending().iter().rposition(|byte| *byte == b'\n') else {
            return Ok(false);
        };
        let whole = self.start + last + 1;
        spare.resize(BLOCK + LINE_LIMIT, 0);
        let rest = self.block.get(whole..self.end).unwrap_or_default();
        if let Some(place) = spare.get_mut(1..=rest.len()) {
            place.copy_from_slice(rest);
        }
        self.end = 1 + rest.len();
        self.start = 1;
        self.offset += last as u64 + 1;
        std::mem::swap(&mut self.block, spare);
        spare.truncate(whole);
        Ok(true)
    }
}
