//! Appends records to the newest segment; everything here happens under one mutex.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::chain::Chain;
use crate::clock::{WallClock, monotonic};
use crate::error::{Failure, Unavailable};
use crate::ids::Ids;
use crate::line::{Body, Phase, Stamp, compose};
use crate::note::PublicKey;
use crate::segment::{OpenSegment, Segment};
use crate::tree::{Hash, leaf};

/// What does not change while a log is open.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) boot_id: String,
    pub(crate) public: PublicKey,
    pub(crate) ids: Arc<Ids>,
}

/// The one place where records are written.
#[derive(Debug)]
pub(crate) struct Writer {
    setting: Setting,
    segment: OpenSegment,
    number: u64,
    chain: Chain,
    clock: WallClock,
    line: Vec<u8>,
    unsynced: Vec<(PathBuf, Arc<File>)>,
    directory_changed: bool,
    end: Option<Unavailable>,
    /// Set when the last owner of the log goes.
    pub(crate) stop: bool,
}

/// A state of the log, and what must reach the disk before it may be signed.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) files: Vec<(PathBuf, Arc<File>)>,
    pub(crate) directory_changed: bool,
}

impl Writer {
    /// Goes on behind `chain` in this segment; an empty segment gets its first record.
    pub(crate) fn new(
        setting: Setting,
        segment: OpenSegment,
        number: u64,
        chain: Chain,
    ) -> Result<Self, Unavailable> {
        let mut writer = Self {
            setting,
            segment,
            number,
            chain,
            clock: WallClock::default(),
            line: Vec::with_capacity(4096),
            unsynced: Vec::new(),
            directory_changed: true,
            end: None,
            stop: false,
        };
        if writer.segment.length == 0 {
            writer.introduce()?;
        }
        Ok(writer)
    }

    /// Number of records.
    pub(crate) fn size(&self) -> u64 {
        self.chain.size()
    }

    /// Why no more records are taken, if so.
    pub(crate) fn end(&self) -> Option<&Unavailable> {
        self.end.as_ref()
    }

    /// Takes no more records. The first reason stays.
    pub(crate) fn finish(&mut self, end: Unavailable) -> Unavailable {
        self.end.get_or_insert(end).clone()
    }

    /// Takes no more records because something broke, even where it was closed before.
    pub(crate) fn fail(&mut self, failure: Failure) -> Unavailable {
        if !matches!(self.end, Some(Unavailable::Failed(_))) {
            self.end = Some(Unavailable::Failed(Arc::new(failure)));
        }
        self.finish(Unavailable::Closed)
    }

    /// Appends one record and returns its sequence number. An error is for good: after a write that failed
    /// half-way nobody can say what a second one would do.
    pub(crate) fn append(&mut self, phase: Phase, body: &[u8]) -> Result<u64, Unavailable> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        self.compose(phase, body);
        // The buffer holds one byte more than the line, the mark that its hash begins with.
        if self.segment.length + self.line.len() as u64 - 1 > self.setting.segment_bytes {
            self.rotate()?;
            self.compose(phase, body);
        }
        self.write()
    }

    fn compose(&mut self, phase: Phase, body: &[u8]) {
        let stamp = Stamp {
            seq: self.chain.size(),
            time: &self.clock.now(),
            boot_id: &self.setting.boot_id,
            mono_ns: monotonic(),
            prev: self.chain.prev(),
        };
        compose(&mut self.line, &stamp, phase, body);
    }

    fn write(&mut self) -> Result<u64, Unavailable> {
        let (line, marked) = match (self.line.get(1..), self.line.split_last()) {
            (Some(line), Some((_, marked))) => (line, marked),
            _ => return Err(self.fail(Failure::Poisoned)),
        };
        let hash = leaf(marked);
        let length = line.len() as u64;
        if let Err(source) = (&*self.segment.file).write_all(line) {
            let path = self.segment.path.clone();
            return Err(self.fail(Failure::Io {
                action: "write",
                path,
                source,
            }));
        }
        let seq = self.chain.size();
        self.segment.length += length;
        self.chain.push(hash);
        Ok(seq)
    }

    /// Begins the next segment.
    fn rotate(&mut self) -> Result<(), Unavailable> {
        if let Err(failure) = self.segment.inspect() {
            return Err(self.fail(failure));
        }
        let next = Segment::new(&self.setting.dir, self.chain.size());
        let opened = match OpenSegment::create(&next, self.setting.segment_bytes) {
            Ok(opened) => opened,
            Err(source) => {
                return Err(self.fail(Failure::Io {
                    action: "create",
                    path: next.path,
                    source,
                }));
            }
        };
        let full = std::mem::replace(&mut self.segment, opened);
        self.unsynced.push((full.path, full.file));
        self.directory_changed = true;
        self.number += 1;
        self.introduce()
    }

    /// Writes the record that a segment begins with.
    fn introduce(&mut self) -> Result<(), Unavailable> {
        let detail = self.chain.introduction(&self.setting.public, self.number);
        self.own(Phase::Key, &detail)
    }

    /// Writes a record of the log about itself.
    pub(crate) fn own(&mut self, phase: Phase, detail: &Value) -> Result<(), Unavailable> {
        let body = Body::own(self.setting.ids.next()?, detail);
        self.compose(phase, body.bytes());
        self.write().map(|_| ())
    }

    /// The state to bring to the disk, after a look whether the file is still ours.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, Unavailable> {
        if let Some(failed @ Unavailable::Failed(_)) = &self.end {
            return Err(failed.clone());
        }
        if let Err(failure) = self.segment.inspect() {
            return Err(self.fail(failure));
        }
        let mut files = std::mem::take(&mut self.unsynced);
        files.push((self.segment.path.clone(), Arc::clone(&self.segment.file)));
        Ok(Snapshot {
            size: self.chain.size(),
            root: self.chain.root(),
            files,
            directory_changed: std::mem::take(&mut self.directory_changed),
        })
    }
}
