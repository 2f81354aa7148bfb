//! Checks a log with nothing but its files and the public key.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::chain::{Chain, Link, Place};
use crate::crew::Crew;
use crate::lines::{Lines, Next};
use crate::note::{Checkpoint, PublicKey};
use crate::parse::Line;
use crate::segment::{CHECKPOINT, Segment};

/// What a log that verifies holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records in all.
    pub records: u64,
    /// Records that the signed checkpoint covers.
    pub signed: u64,
    /// Segment files.
    pub segments: u64,
    /// Root of the tree over all records.
    pub root: [u8; 32],
}

impl Summary {
    /// Records that are chained, but not yet signed: a second's worth beside a running broker.
    #[must_use]
    pub fn unsigned(&self) -> u64 {
        self.records.saturating_sub(self.signed)
    }
}

/// The first thing that is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Finding {
    /// The file concerned.
    pub file: PathBuf,
    /// Line in the file, counted from 1.
    pub line: Option<u64>,
    /// Sequence number that the record has or should have.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    fn sentence(&self) -> String {
        let mut sentence = format!("`{}`", self.file.display());
        if let Some(line) = self.line {
            sentence.push_str(&format!(", line {line}"));
        }
        if let Some(seq) = self.seq {
            sentence.push_str(&format!(", record {seq}"));
        }
        sentence.push_str(": ");
        sentence.push_str(&self.what);
        sentence
    }
}

/// How often, and for how long each time, a line that a running broker may still be writing is waited for.
const WAITS: u32 = 10;
const WAIT: Duration = Duration::from_millis(20);

/// Whether a line, without its newline, is a record as the log spells them. Its place in a log is another matter.
#[must_use]
pub fn is_record(line: &[u8]) -> bool {
    Line::parse(line).is_ok()
}

/// Verifies the whole log in `dir`. `last_known` is a checkpoint that was kept elsewhere: the log must contain it.
///
/// # Errors
/// The first record or file that is wrong.
pub fn verify(
    dir: &Path,
    key: &PublicKey,
    last_known: Option<&Checkpoint>,
) -> Result<Summary, Finding> {
    // Read before the records, because a running broker adds to both in the other order.
    let path = dir.join(CHECKPOINT);
    let checkpoint = Checkpoint::read(&path).map_err(|error| Finding::of(&path, error))?;
    checkpoint
        .verify(key)
        .map_err(|error| Finding::of(&path, error))?;
    if let Some(last_known) = last_known {
        last_known
            .verify(key)
            .map_err(|error| Finding::of(Path::new("last-known checkpoint"), error))?;
    }
    let segments = Segment::list(dir).map_err(|error| Finding::of(dir, error))?;
    let mut pass = Pass {
        key,
        signed: checkpoint.size(),
        expected: [Some(&checkpoint), last_known],
        chain: Chain::default(),
        crew: Crew::hire().map_err(|error| Finding::of(dir, error))?,
    };
    for (number, segment) in segments.iter().enumerate() {
        pass.segment(segment, number as u64, number + 1 == segments.len())?;
    }
    pass.complete(dir)?;
    Ok(Summary {
        records: pass.chain.size(),
        signed: checkpoint.size(),
        segments: segments.len() as u64,
        root: pass.chain.root(),
    })
}

impl Finding {
    fn of(file: &Path, error: impl std::fmt::Display) -> Self {
        Self {
            file: file.to_path_buf(),
            line: None,
            seq: None,
            what: error.to_string(),
        }
    }
}

/// One pass over all records.
struct Pass<'a> {
    key: &'a PublicKey,
    signed: u64,
    expected: [Option<&'a Checkpoint>; 2],
    chain: Chain,
    crew: Crew,
}

/// Where in a segment the pass is.
struct Spot<'a> {
    segment: &'a Segment,
    line: u64,
    place: Place<'a>,
}

impl Pass<'_> {
    fn wrong(&self, segment: &Segment, line: u64, what: impl Into<String>) -> Finding {
        Finding {
            file: segment.path.clone(),
            line: Some(line),
            seq: Some(self.chain.size()),
            what: what.into(),
        }
    }

    fn segment(&mut self, segment: &Segment, number: u64, last: bool) -> Result<(), Finding> {
        if segment.first != self.chain.size() {
            return Err(self.wrong(segment, 1, "the segment is not the one that must come here"));
        }
        let io = |error| Finding::of(&segment.path, error);
        let mut lines = Lines::open(&segment.path).map_err(io)?;
        let mut spot = Spot {
            segment,
            line: 1,
            place: Place::First(self.key, number),
        };
        let mut more = true;
        loop {
            while more && self.crew.has_room() {
                let mut block = self.crew.blank();
                more = lines.take_block(&mut block.bytes).map_err(io)?;
                if more {
                    self.crew.give(block).map_err(io)?;
                }
            }
            let Some(block) = self.crew.take().map_err(io)? else {
                break;
            };
            for link in &block.links {
                self.link(&mut spot, link)?;
            }
            if let Some(what) = block.wrong {
                return Err(self.wrong(segment, spot.line, what));
            }
            self.crew.keep(block);
        }
        self.end(&mut lines, &mut spot, last)
    }

    fn link(&mut self, spot: &mut Spot<'_>, link: &Link) -> Result<(), Finding> {
        if let Err(what) = self.chain.accept(link, spot.place) {
            return Err(self.wrong(spot.segment, spot.line, what));
        }
        spot.place = Place::Within;
        self.hold_against_checkpoints(spot.segment, spot.line)?;
        spot.line += 1;
        Ok(())
    }

    /// Judges how a segment ends. A running broker may be about to finish its last line.
    fn end(&mut self, lines: &mut Lines, spot: &mut Spot<'_>, last: bool) -> Result<(), Finding> {
        let mut waits = 0;
        loop {
            let next = lines.next();
            match next.map_err(|error| Finding::of(&spot.segment.path, error))? {
                Next::Line(marked) => match Link::read(marked) {
                    Ok(link) => self.link(spot, &link)?,
                    Err(what) => return Err(self.wrong(spot.segment, spot.line, what.to_string())),
                },
                Next::Torn if last && self.chain.size() >= self.signed && waits < WAITS => {
                    waits += 1;
                    sleep(WAIT);
                }
                Next::Torn => {
                    return Err(self.wrong(spot.segment, spot.line, "the line is cut off"));
                }
                Next::TooLong => {
                    return Err(self.wrong(spot.segment, spot.line, "longer than a line may be"));
                }
                Next::End if spot.line == 1 && !last => {
                    return Err(self.wrong(spot.segment, spot.line, "the segment is empty"));
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn hold_against_checkpoints(&self, segment: &Segment, line: u64) -> Result<(), Finding> {
        for checkpoint in self.expected.into_iter().flatten() {
            if checkpoint.size() == self.chain.size() && *checkpoint.root() != self.chain.root() {
                return Err(Finding {
                    file: segment.path.clone(),
                    line: Some(line),
                    seq: self.chain.size().checked_sub(1),
                    what: format!(
                        "the {} records up to here are not those that were signed",
                        checkpoint.size()
                    ),
                });
            }
        }
        Ok(())
    }

    fn complete(&self, dir: &Path) -> Result<(), Finding> {
        for checkpoint in self.expected.into_iter().flatten() {
            if self.chain.size() < checkpoint.size() {
                return Err(Finding {
                    file: dir.to_path_buf(),
                    line: None,
                    seq: Some(self.chain.size()),
                    what: format!(
                        "the log ends before this record, but {} records were signed",
                        checkpoint.size()
                    ),
                });
            }
        }
        Ok(())
    }
}
