//! Lists a directory, one page at a time, holding no more than the page.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd};

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileKind, FileRead, FileReadFound, FileTerms, Permit};
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, SeekFrom};

use super::{io_failure, lookup, read};
use crate::{
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Entries of a page when the request does not say.
const DEFAULT_PAGE: usize = 1_000;
/// Entries of the largest page.
const LARGEST_PAGE: usize = 10_000;
/// Bytes of names that one page may hold, so that it fits a reply.
const PAGE_BYTES: usize = 1024 * 1024;

/// Serves one `FileList`.
#[derive(Debug)]
pub struct ListHandler {
    page: usize,
    from: Option<u64>,
}

/// One page.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names with their kinds. A name that is not UTF-8 is shown with replacement
    /// characters and cannot be asked for.
    pub entries: Vec<(String, FileKind)>,
    /// The place where the next page begins.
    pub next: Option<u64>,
}

impl ListHandler {
    /// Parses the page of a request.
    ///
    /// # Errors
    /// When the token is none of ours.
    pub fn new(page_size: u32, token: &str) -> Result<Self, Refusal> {
        let from = match token {
            "" => None,
            token => Some(token.parse().map_err(|_| {
                Refusal::failed(
                    Failure::Precondition,
                    format!("`{}` is no page token", token.escape_debug()),
                )
            })?),
        };
        let page = match usize::try_from(page_size).unwrap_or(LARGEST_PAGE) {
            0 => DEFAULT_PAGE,
            asked => asked.min(LARGEST_PAGE),
        };
        Ok(Self { page, from })
    }
}

impl Handler<FileRead> for ListHandler {
    type Handle = lookup::Found;
    type Reply = Listing;

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
        permit: &Recorded<Confirmed<FileRead>>,
        found: lookup::Found,
    ) -> Performed<Listing> {
        let permit = permit.get();
        let result = found
            .open(OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|directory| page(&directory, permit.terms(), self.page, self.from))
            .map_err(|error| io_failure(permit.ask().path.as_str(), &error));
        Performed::plain(result)
    }
}

fn page(
    directory: &OwnedFd,
    terms: &FileTerms,
    wanted: usize,
    from: Option<u64>,
) -> io::Result<Listing> {
    if let Some(from) = from {
        rustix::fs::seek(directory, SeekFrom::Start(from))?;
    }
    let mut listing = Listing::default();
    let mut bytes = 0;
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let raw = entry.file_name();
        if raw == c"." || raw == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => rustix::fs::statat(directory, raw, AtFlags::SYMLINK_NOFOLLOW)
                .map(|stat| lookup::kind_of(&stat))
                .unwrap_or(FileKind::Other),
            known => lookup::kind_of_type(known),
        };
        let name = raw.to_string_lossy();
        if !terms.shows(&name, kind) {
            continue;
        }
        bytes += name.len();
        listing.entries.push((name.into_owned(), kind));
        if listing.entries.len() >= wanted || bytes >= PAGE_BYTES {
            listing.next = Some(entry.next_entry_cookie());
            break;
        }
    }
    Ok(listing)
}
