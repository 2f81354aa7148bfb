//! Takes up a log where a crash may have left it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use ring::digest;
use serde_json::{Value, json};

use crate::chain::{Chain, NO_KEY_RECORD, Place};
use crate::error::OpenError;
use crate::json::push_hex;
use crate::key::replace;
use crate::line::Field;
use crate::lines::{Lines, Next};
use crate::note::{Checkpoint, PublicKey};
use crate::parse::Line;
use crate::segment::Segment;
use crate::verify::Finding;

/// Where writing goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) segment: Segment,
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) chain: Chain,
    /// What the `recovered` record shall say, where something was cut.
    pub(crate) recovered: Option<Value>,
}

/// Replays the segments that the checkpoint does not wholly cover. Those before it are left to the verifier:
/// the signed root of the checkpoint vouches for the tree that they ended in.
pub(crate) fn resume(
    dir: &Path,
    segments: &[Segment],
    checkpoint: &Checkpoint,
    key: &PublicKey,
) -> Result<Resumed, OpenError> {
    let signed = checkpoint.size();
    let covered = segments.iter().take_while(|s| s.first < signed).count();
    let from = covered.saturating_sub(1);
    let mut replay = Replay {
        dir,
        key,
        checkpoint,
        chain: Chain::default(),
        number: 0,
        started: false,
    };
    let mut resumed = None;
    for (place, segment) in segments.iter().enumerate().skip(from) {
        let last = place + 1 == segments.len();
        let tail = replay.segment(segment, last)?;
        resumed = Some((segment.clone(), tail));
    }
    let shorter = OpenError::Shorter {
        dir: dir.to_path_buf(),
        have: replay.chain.size(),
        signed,
    };
    if replay.chain.size() < signed {
        return Err(shorter);
    }
    let (segment, tail) = resumed.ok_or(shorter)?;
    let recovered = match tail.torn {
        true => Some(keep_copy(dir, &segment, tail.length)?),
        false => None,
    };
    Ok(Resumed {
        segment,
        number: replay.number,
        length: tail.length,
        chain: replay.chain,
        recovered,
    })
}

struct Replay<'a> {
    dir: &'a Path,
    key: &'a PublicKey,
    checkpoint: &'a Checkpoint,
    chain: Chain,
    number: u64,
    started: bool,
}

/// How a segment ends.
struct Tail {
    length: u64,
    torn: bool,
}

impl<'a> Replay<'a> {
    fn corrupt(&self, segment: &Segment, line: u64, what: &str) -> OpenError {
        OpenError::Corrupt(Finding {
            file: segment.path.clone(),
            line: Some(line),
            seq: Some(self.chain.size()),
            what: what.to_owned(),
        })
    }

    fn segment(&mut self, segment: &Segment, last: bool) -> Result<Tail, OpenError> {
        let path = &segment.path;
        let mut lines = Lines::open(path).map_err(OpenError::io("open", path))?;
        let torn = loop {
            let number = lines.count() + 1;
            match lines.next().map_err(OpenError::io("read", path))? {
                Next::Line(marked) => self.line(segment, number, marked)?,
                Next::End => break false,
                Next::Torn | Next::TooLong => break true,
            }
        };
        let length = lines.offset();
        let line = lines.count() + 1;
        if last && self.chain.size() < self.checkpoint.size() {
            return Err(OpenError::Shorter {
                dir: self.dir.to_path_buf(),
                have: self.chain.size().max(segment.first),
                signed: self.checkpoint.size(),
            });
        }
        if torn && !(last && is_cut_off(path, length)?) {
            let what = "the line has no end, or is longer than a line may be";
            return Err(self.corrupt(segment, line, what));
        }
        if length == 0 {
            self.begin_empty(segment, last)?;
        }
        Ok(Tail { length, torn })
    }

    /// A segment without a whole record: its first one was never finished.
    fn begin_empty(&mut self, segment: &Segment, last: bool) -> Result<(), OpenError> {
        if !last || segment.first != self.chain.size() {
            return Err(self.corrupt(
                segment,
                1,
                "the segment is empty, or named for another record",
            ));
        }
        if self.started {
            self.number += 1;
        }
        Ok(())
    }

    fn line(&mut self, segment: &Segment, number: u64, marked: &mut [u8]) -> Result<(), OpenError> {
        let place = if number == 1 {
            self.enter(segment, marked)?
        } else {
            Place::Within
        };
        if let Err(what) = self.chain.check(marked, place) {
            return Err(self.corrupt(segment, number, &what));
        }
        let signed = self.checkpoint.size() == self.chain.size();
        if signed && self.chain.root() != *self.checkpoint.root() {
            return Err(OpenError::Corrupt(Finding {
                file: segment.path.clone(),
                line: Some(number),
                seq: self.chain.size().checked_sub(1),
                what: "the records up to here are not those that were signed".to_owned(),
            }));
        }
        Ok(())
    }

    /// Prepares for the first record of a segment; the replay begins with the state that the first one states.
    fn enter(&mut self, segment: &Segment, marked: &[u8]) -> Result<Place<'a>, OpenError> {
        if self.started {
            self.number += 1;
        } else if segment.first > 0 {
            let stated = Line::parse(marked.get(1..).unwrap_or_default())
                .ok()
                .and_then(|line| {
                    let detail: Value = serde_json::from_slice(line.raw(Field::Detail)).ok()?;
                    let number = detail.get("segment")?.as_u64()?;
                    Some((Chain::stated_by(&line, &detail)?, number))
                });
            let Some((chain, number)) = stated else {
                return Err(self.corrupt(segment, 1, NO_KEY_RECORD));
            };
            self.chain = chain;
            self.number = number;
        }
        self.started = true;
        if segment.first != self.chain.size() {
            return Err(self.corrupt(segment, 1, "the segment is named for another record"));
        }
        Ok(Place::First(self.key, self.number))
    }
}

/// Whether the bytes from `offset` on can be one record that was cut off: they hold no newline.
fn is_cut_off(path: &Path, offset: u64) -> Result<bool, OpenError> {
    let rest = rest_of(path, offset).map_err(OpenError::io("read", path))?;
    Ok(!rest.contains(&b'\n'))
}

fn rest_of(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(rest)
}

/// Keeps a copy of what will be cut, and says so in words for the `recovered` record.
pub(crate) fn keep_copy(dir: &Path, segment: &Segment, offset: u64) -> Result<Value, OpenError> {
    let rest = rest_of(&segment.path, offset).map_err(OpenError::io("read", &segment.path))?;
    let hash = digest::digest(&digest::SHA256, &rest);
    let mut spelled = Vec::new();
    push_hex(&mut spelled, hash.as_ref());
    let spelled = String::from_utf8_lossy(&spelled).into_owned();
    let short = spelled.get(..8).unwrap_or_default();
    let name = format!("torn-{:020}-{offset}-{short}", segment.first);
    let copy = dir.join(&name);
    replace(&copy, &rest, 0o600).map_err(OpenError::io("write", &copy))?;
    Ok(json!({ "cut_bytes": rest.len(), "kept_as": name, "sha256": spelled }))
}
