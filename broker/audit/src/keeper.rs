//! Brings records to the disk and signs them, behind the back of those who write them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Failure, Unavailable};
use crate::ids::Ids;
use crate::key::{SigningKey, replace};
use crate::line::Phase;
use crate::log::Durability;
use crate::record::RecordId;
use crate::segment::CHECKPOINT;
use crate::writer::Writer;

/// How far the disk has got.
#[derive(Debug, Clone, Copy)]
struct Synced {
    size: u64,
    ended: bool,
}

/// All that clones of a log share.
#[derive(Debug)]
pub(crate) struct Keeper {
    writer: Mutex<Writer>,
    wake: Condvar,
    /// Held while records are brought to the disk, so that checkpoints are written one after the other.
    committing: Mutex<()>,
    synced: watch::Sender<Synced>,
    signed: AtomicU64,
    lost: AtomicU64,
    ids: Arc<Ids>,
    key: SigningKey,
    dir: PathBuf,
    /// Open and locked as long as the log is.
    lock: File,
    durability: Durability,
    every: Duration,
}

impl Keeper {
    pub(crate) fn new(
        writer: Writer,
        ids: Arc<Ids>,
        key: SigningKey,
        (dir, lock): (PathBuf, File),
        durability: Durability,
        every: Duration,
    ) -> Self {
        let start = Synced {
            size: 0,
            ended: false,
        };
        Self {
            writer: Mutex::new(writer),
            wake: Condvar::new(),
            committing: Mutex::new(()),
            synced: watch::Sender::new(start),
            signed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            ids,
            key,
            dir,
            lock,
            durability,
            every,
        }
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn id(&self) -> Result<RecordId, Unavailable> {
        self.ids.next()
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        match self.writer.lock() {
            Ok(writer) => writer,
            Err(poisoned) => {
                let mut writer = poisoned.into_inner();
                writer.fail(Failure::Poisoned);
                writer
            }
        }
    }

    /// Writes one record.
    pub(crate) fn append(&self, phase: Phase, body: &[u8]) -> Result<u64, Unavailable> {
        let appended = self.writer().append(phase, body);
        if appended.is_err() {
            self.announce_end();
        }
        appended
    }

    /// Waits until the record is as durable as it was promised to be.
    pub(crate) async fn settled(&self, seq: u64) -> Result<(), Unavailable> {
        if self.durability == Durability::Process {
            return Ok(());
        }
        self.wake.notify_all();
        let mut synced = self.synced.subscribe();
        match synced.wait_for(|at| at.size > seq || at.ended).await {
            Ok(at) if at.size > seq => Ok(()),
            _ => Err(self.writer().finish(Unavailable::Closed)),
        }
    }

    fn announce_end(&self) {
        self.synced.send_modify(|synced| synced.ended = true);
    }

    fn fail(&self, failure: Failure) -> Unavailable {
        let end = self.writer().fail(failure);
        self.announce_end();
        end
    }

    /// Brings all records to the disk, and signs them where `sign` says so and there are new ones.
    pub(crate) fn commit(&self, sign: bool) -> Result<(), Unavailable> {
        let _turn = match self.committing.lock() {
            Ok(turn) => turn,
            Err(_) => return Err(self.fail(Failure::Poisoned)),
        };
        let snapshot = match self.writer().snapshot() {
            Ok(snapshot) => snapshot,
            Err(end) => {
                self.announce_end();
                return Err(end);
            }
        };
        if snapshot.size > self.synced.borrow().size {
            for (path, file) in snapshot.files {
                if let Err(source) = file.sync_data() {
                    return Err(self.broken("sync", path, source));
                }
            }
        }
        // The lock is held on the directory itself, so it serves to sync it too.
        if snapshot.directory_changed
            && let Err(source) = self.lock.sync_all()
        {
            return Err(self.broken("sync", self.dir.clone(), source));
        }
        self.synced
            .send_modify(|synced| synced.size = snapshot.size);
        if sign && snapshot.size > self.signed.load(Ordering::Acquire) {
            let note = self.key.checkpoint(snapshot.size, &snapshot.root);
            let path = self.dir.join(CHECKPOINT);
            if let Err(source) = replace(&path, note.as_bytes(), 0o644) {
                return Err(self.broken("write", path, source));
            }
            self.signed.store(snapshot.size, Ordering::Release);
        }
        Ok(())
    }

    fn broken(&self, action: &'static str, path: PathBuf, source: std::io::Error) -> Unavailable {
        self.fail(Failure::Io {
            action,
            path,
            source,
        })
    }

    /// Takes no more records, then brings what there is to the disk and signs it.
    pub(crate) fn close(&self) -> Result<(), Unavailable> {
        self.writer().finish(Unavailable::Closed);
        let committed = self.commit(true);
        self.announce_end();
        committed
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.writer().stop = true;
        self.wake.notify_all();
    }

    /// The thread: commits at once where requests wait for the disk, and signs in any case every so often.
    pub(crate) fn run(&self) {
        let _watch = PanicWatch(self);
        let mut due = Instant::now() + self.every;
        loop {
            let synced = self.synced.borrow().size;
            let waited_for = |writer: &Writer| {
                self.durability == Durability::Power
                    && writer.size() > synced
                    && writer.end().is_none()
            };
            let rest = due.saturating_duration_since(Instant::now());
            let waited = self
                .wake
                .wait_timeout_while(self.writer(), rest, |w| !w.stop && !waited_for(w));
            let stopped = waited.map_or(true, |(writer, _)| writer.stop);
            if stopped {
                return;
            }
            let sign = Instant::now() >= due;
            if sign {
                due = Instant::now() + self.every;
            }
            // A failure has ended the log for all; what is left to do here is to wait for the stop.
            if self.commit(sign).is_err() {
                due = Instant::now() + self.every;
            }
        }
    }

    /// Records that are written, and those that are signed.
    pub(crate) fn sizes(&self) -> Result<(u64, u64), Unavailable> {
        let writer = self.writer();
        match writer.end() {
            Some(end) => Err(end.clone()),
            None => Ok((writer.size(), self.signed.load(Ordering::Acquire))),
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the log should its thread die: nothing would be signed any more, and nobody would know.
struct PanicWatch<'a>(&'a Keeper);

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Failure::Poisoned);
        }
    }
}
