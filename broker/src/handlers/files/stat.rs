//! Says what a path is, without opening it.

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileKind, FileRead, FileReadFound, Permit};

use super::{lookup, read};
use crate::{
    pipeline::{Context, Handler, Performed},
    refusal::Refusal,
};

/// Serves one `FileStat`.
#[derive(Debug)]
pub struct StatHandler;

/// What there is to say of a file.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// File, directory or something else.
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// Permission bits.
    pub mode: u32,
}

impl Handler<FileRead> for StatHandler {
    type Handle = lookup::Found;
    type Reply = Facts;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, lookup::Found), Refusal> {
        read::find(context, permit.get())
    }

    async fn perform(
        self,
        _context: Context<'_>,
        _permit: &Recorded<Confirmed<FileRead>>,
        found: lookup::Found,
    ) -> Performed<Facts> {
        Performed::plain(Ok(Facts {
            kind: found.kind(),
            size: found.size(),
            modified: found.stat.st_mtime,
            mode: found.stat.st_mode & 0o7777,
        }))
    }
}
