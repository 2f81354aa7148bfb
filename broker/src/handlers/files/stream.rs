//! Reads a file of any size as chunks, cut when the grant goes.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::{Bytes, BytesMut};
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileRead, FileReadAction, FileReadFound, Permit};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{count, io_failure, lookup, read};
use crate::{
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Bytes of one chunk: large enough that handing over costs little.
const CHUNK: usize = 1024 * 1024;

/// What is known once the first byte may flow.
#[derive(Debug, Clone, Copy)]
pub struct StreamStart {
    /// Bytes that will be sent, unless the file shrinks.
    pub length: u64,
    /// Size of the whole file.
    pub size: u64,
}

/// Serves one download.
#[derive(Debug)]
pub struct ReadStreamHandler {
    /// Told once, when the request is allowed and the file is open.
    pub start: oneshot::Sender<StreamStart>,
    /// Where the chunks go; closed when the reader went away.
    pub chunks: mpsc::Sender<Result<Bytes, Refusal>>,
}

impl Handler<FileRead> for ReadStreamHandler {
    type Handle = lookup::Found;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, lookup::Found), Refusal> {
        read::find(context, permit.get())
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileRead>>,
        found: lookup::Found,
    ) -> Performed<()> {
        let permit = permit.get();
        let path = permit.ask().path.as_str();
        let size = found.size();
        let file = match found.into_reader() {
            Ok(file) => Arc::new(file),
            Err(error) => return Performed::plain(Err(io_failure(path, &error))),
        };
        let offset = match permit.ask().action {
            FileReadAction::Read { offset, .. } => offset,
            _ => 0,
        };
        let facts = permit.facts();
        let begun = StreamStart {
            length: facts.bytes,
            size,
        };
        if self.start.send(begun).is_err() {
            return Performed::plain(Err(gone()));
        }
        let mut lease = Lease::<FileRead>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        let mut sent = 0;
        let sending = send(&file, offset, facts.bytes, &self.chunks, &mut sent);
        let result = tokio::select! {
            result = sending => result.map_err(|error| match error {
                SendError::Gone => gone(),
                SendError::Io(error) => io_failure(path, &error),
            }),
            denial = lease.revoked() => Err(Refusal::Denied {
                reason: rumi_policy::Reason::Revoked,
                sentence: denial.sentence,
                record: permit_id(),
            }),
        };
        if let Err(refusal) = &result {
            // A reader that is still there learns why its stream ends early.
            let told = Refusal::failed(Failure::Unavailable, refusal.to_string());
            drop(self.chunks.try_send(Err(told)));
        }
        Performed {
            bytes_out: sent,
            detail: read::hard_links(facts.hard_links),
            ..Performed::plain(result)
        }
    }
}

/// The reply has begun and carries no record any more.
fn permit_id() -> String {
    String::new()
}

fn gone() -> Refusal {
    Refusal::failed(Failure::Unavailable, "the reader went away")
}

enum SendError {
    Gone,
    Io(io::Error),
}

/// Sends one chunk while the next one is read.
async fn send(
    file: &Arc<File>,
    offset: u64,
    length: u64,
    chunks: &mpsc::Sender<Result<Bytes, Refusal>>,
    sent: &mut u64,
) -> Result<(), SendError> {
    let end = offset.saturating_add(length);
    let mut buffers = Buffers::default();
    let mut at = offset;
    let mut next = |buffers: &mut Buffers| {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let reading = (wanted > 0).then(|| read(file, at, buffers.take(wanted)));
        at = at.saturating_add(count(wanted));
        reading
    };
    let mut reading = next(&mut buffers);
    while let Some(chunk) = reading {
        let chunk = chunk
            .await
            .map_err(|error| SendError::Io(io::Error::other(error)))?
            .map_err(SendError::Io)?;
        reading = next(&mut buffers);
        let chunk = buffers.lend(chunk);
        let length = count(chunk.len());
        chunks.send(Ok(chunk)).await.map_err(|_| SendError::Gone)?;
        *sent += length;
    }
    Ok(())
}

/// Fills the buffer, or fails: a file that has become shorter has not what was promised.
fn read(file: &Arc<File>, at: u64, mut buffer: BytesMut) -> JoinHandle<io::Result<BytesMut>> {
    let file = Arc::clone(file);
    tokio::task::spawn_blocking(move || {
        file.read_exact_at(&mut buffer, at)?;
        Ok(buffer)
    })
}

/// Memory of chunks that were sent is used again: fresh memory costs the kernel more than
/// filling it.
#[derive(Debug, Default)]
struct Buffers(VecDeque<Bytes>);

impl Buffers {
    fn take(&mut self, length: usize) -> BytesMut {
        let free = self.0.front().is_some_and(Bytes::is_unique);
        let free = free.then(|| self.0.pop_front()?.try_into_mut().ok());
        let mut buffer = free.flatten().unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    fn lend(&mut self, filled: BytesMut) -> Bytes {
        let filled = filled.freeze();
        self.0.push_back(filled.clone());
        filled
    }
}
