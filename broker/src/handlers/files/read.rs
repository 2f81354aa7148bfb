//! Reads a file, whole or a range, into one reply.

use std::{
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
};

use bytes::Bytes;
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileRead, FileReadAction, FileReadFound, Permit};

use super::{MAX_INLINE, count, io_failure, lookup, root_failure};
use crate::{
    freight::Freight,
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Up to this many bytes are read on the request's own thread: handing over costs
/// 10 to 60 us, which is more than the reading.
const SMALL: u64 = 128 * 1024;

/// Serves one `FileRead`.
#[derive(Debug)]
pub struct ReadHandler {
    /// Where the reply finds room.
    pub freight: Option<Freight>,
}

/// The file's content, and its size when it was opened.
#[derive(Debug)]
pub struct Content {
    /// What was asked for.
    pub data: Bytes,
    /// Size of the whole file.
    pub size: u64,
}

/// What a request for reading names; shared by all handlers of `file_read`.
pub(super) fn find(
    context: Context<'_>,
    permit: &Permit<FileRead>,
) -> Result<(FileReadFound, lookup::Found), Refusal> {
    let terms = permit.terms();
    let root = context
        .policy
        .roots
        .get(terms.root())
        .map_err(|error| root_failure(&error))?;
    let asked = permit.ask();
    let found = match asked.action {
        FileReadAction::Read { .. } => lookup::find_readable(&root, terms.relative(), &asked.path),
        FileReadAction::List | FileReadAction::Stat => lookup::find(&root, terms.relative()),
    };
    let found = found.map_err(|error| io_failure(asked.path.as_str(), &error))?;
    let facts = FileReadFound {
        kind: found.kind(),
        size: found.size(),
        real_root: root.path().clone(),
        real_path: found.real_path.clone(),
        links: found.links(),
    };
    Ok((facts, found))
}

impl Handler<FileRead> for ReadHandler {
    type Handle = lookup::Found;
    type Reply = Content;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, lookup::Found), Refusal> {
        find(context, permit.get())
    }

    async fn perform(
        self,
        _context: Context<'_>,
        permit: &Recorded<Confirmed<FileRead>>,
        found: lookup::Found,
    ) -> Performed<Content> {
        let permit = permit.get();
        let path = permit.ask().path.as_str();
        let facts = permit.facts();
        if facts.bytes > MAX_INLINE {
            return Performed::plain(Err(Refusal::failed(
                Failure::TooLarge,
                format!(
                    "`{}` has more than the {MAX_INLINE} bytes of one reply; ask for ranges or stream it",
                    path.escape_debug()
                ),
            )));
        }
        let offset = match permit.ask().action {
            FileReadAction::Read { offset, .. } => offset,
            _ => 0,
        };
        if let Some(freight) = &self.freight {
            freight.goes(facts.bytes).await;
        }
        let (wanted, size) = (facts.bytes, found.size());
        let read = if wanted <= SMALL {
            content(found, offset, wanted)
        } else {
            tokio::task::spawn_blocking(move || content(found, offset, wanted))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        let result = read
            .map(|data| Content { data, size })
            .map_err(|error| io_failure(path, &error));
        let bytes_out = result.as_ref().map(|c| count(c.data.len())).unwrap_or(0);
        Performed {
            bytes_out,
            detail: hard_links(facts.hard_links),
            ..Performed::plain(result)
        }
    }
}

/// A file with several names may be one from outside the granted directory; the record says so.
pub(super) fn hard_links(several: bool) -> Option<serde_json::Value> {
    several.then(|| serde_json::json!({ "hard_links": true }))
}

fn content(found: lookup::Found, offset: u64, wanted: u64) -> io::Result<Bytes> {
    let file = found.into_reader()?;
    let mut data = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
    if offset == 0 {
        // `take` keeps a file that grows meanwhile from answering with more.
        (&file).take(wanted).read_to_end(&mut data)?;
        return Ok(data.into());
    }
    data.resize(usize::try_from(wanted).unwrap_or(0), 0);
    let mut filled = 0;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(count(filled)))? {
            0 => break,
            read => filled += read,
        }
    }
    data.truncate(filled);
    Ok(data.into())
}
