//! Lists a directory, one page at a time, holding no more than the page.
//!
//! Nothing is kept between pages: a token says where in the directory the next one begins, as
//! the file system counts, so that no page reads what the pages before it did. A token that was
//! made up shows no more than one that was given, and one of another directory is refused.

use std::{fmt, io, mem::MaybeUninit, os::fd::OwnedFd, str::FromStr};

use rumi_audit::Recorded;
use rumi_policy::{Children, Confirmed, FileKind, FileRead, FileReadFound, Permit};
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
/// Entries that are looked at for one page: where a grant's patterns leave out nearly all of a
/// directory, a page may be empty and not the last.
const LOOKED_AT: usize = 20_000;

/// Serves one `FileList`.
#[derive(Debug)]
pub struct ListHandler {
    page: usize,
    from: Option<PageToken>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// As the file system counts; no pack can do anything with it but go there.
    cookie: u64,
    /// The directory.
    inode: u64,
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.cookie, self.inode)
    }
}

impl FromStr for PageToken {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (cookie, inode) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self {
            cookie: u64::from_str_radix(cookie, 16)?,
            inode: u64::from_str_radix(inode, 16)?,
        })
    }
}

/// One page.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names with their kinds. A name that is not UTF-8 is shown with replacement
    /// characters and cannot be asked for.
    pub entries: Vec<(String, FileKind)>,
    /// The place where the next page begins.
    pub next: Option<PageToken>,
}

impl ListHandler {
    /// Parses the page of a request.
    ///
    /// # Errors
    /// When the token is none of ours.
    pub fn new(page_size: u32, token: &str) -> Result<Self, Refusal> {
        let from = match token {
            "" => None,
            token => Some(token.parse().map_err(|_| no_token(token))?),
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
        // What else the background runtime does goes on meanwhile.
        Performed::plain(tokio::task::block_in_place(|| {
            list(permit.get(), &found, self.page, self.from)
        }))
    }
}

fn no_token(token: impl fmt::Display) -> Refusal {
    let token = token.to_string();
    Refusal::failed(
        Failure::Precondition,
        format!("`{}` is no page token", token.escape_debug()),
    )
}

fn list(
    permit: &Confirmed<FileRead>,
    found: &lookup::Found,
    wanted: usize,
    from: Option<PageToken>,
) -> Result<Listing, Refusal> {
    let asked = &permit.ask().path;
    let failure = |error: io::Error| io_failure(asked.as_str(), &error);
    let directory = found
        .open(OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(failure)?;
    let inode = found.stat.st_ino;
    if let Some(token) = from {
        let sought = rustix::fs::seek(&directory, SeekFrom::Start(token.cookie));
        if token.inode != inode || sought.is_err() {
            return Err(no_token(token));
        }
    }
    let children = permit.terms().children(asked, &found.real_path);
    page(&directory, &children, wanted, inode).map_err(failure)
}

fn page(
    directory: &OwnedFd,
    children: &Children<'_>,
    wanted: usize,
    inode: u64,
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let (mut bytes, mut looked_at) = (0, 0);
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
        looked_at += 1;
        if children.shows(&name, kind) {
            bytes += name.len();
            listing.entries.push((name.into_owned(), kind));
        }
        let full = listing.entries.len() >= wanted || bytes >= PAGE_BYTES;
        if full || looked_at >= LOOKED_AT {
            let cookie = entry.next_entry_cookie();
            listing.next = Some(PageToken { cookie, inode });
            break;
        }
    }
    Ok(listing)
}
