//! Opening a file for reading, and reads of what is open.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use fuser::{Errno, FileHandle, ReplyData, ReplyOpen};
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, FileRead, FileReadAction, FileReadAsk, FileReadFound, Permit};
use rustix::{fs::OFlags, io::ReadWriteFlags};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::Answer,
    asker::{Asker, Asking},
    held,
    opens::{OpenFile, Uses},
    passthrough,
    shared::Shared,
    tree::{HostId, Thing},
};
use crate::{
    handlers::{Found, find_itself, root_failure},
    lease::Lease,
    pipeline::{self, Context, Handler, Performed},
    refusal::Refusal,
};

/// What is to be opened, for whom, and how the kernel is told.
#[derive(Debug)]
pub(super) struct Opening<R> {
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Arc<Asker>,
    pub(super) asking: Asking,
    pub(super) inode: u64,
    pub(super) id: HostId,
    pub(super) passthrough: bool,
    pub(super) answer: Answer<R>,
}

/// Opens for reading alone. Returns when the file is closed again.
pub(super) async fn open(opening: Opening<ReplyOpen>) -> Result<(), Errno> {
    let path = opening.shared.tree().path(opening.inode);
    let path = path.ok_or(Errno::ESTALE)?;
    let place = opening.asker.place_to_open().ok_or(Errno::EMFILE)?;
    let broker = Arc::clone(&opening.shared.broker);
    let caller = opening.asker.caller(opening.asking);
    let trouble = opening.answer.trouble().clone();
    let ask = FileReadAsk {
        path,
        action: FileReadAction::Read {
            offset: 0,
            length: 0,
        },
    };
    let handler = ToRead { opening, place };
    pipeline::run(&broker, &caller, ask, handler)
        .await
        .map_err(|refusal| trouble.errno(&refusal))
}

struct ToRead {
    opening: Opening<ReplyOpen>,
    place: OwnedSemaphorePermit,
}

/// Finds the file that the kernel means: what lies under its name now may be another.
pub(super) fn find_opened<R>(
    opening: &Opening<R>,
    context: Context<'_>,
    permit: &Permit<FileRead>,
) -> Result<(FileReadFound, Found), Refusal> {
    let terms = permit.terms();
    let root = context.policy.roots.get(terms.root());
    let root = root.map_err(|error| root_failure(&error))?;
    let path = permit.ask().path.as_str();
    let trouble = |error: &io::Error| opening.answer.trouble().note(path, error);
    let found = find_itself(&root, terms.relative()).map_err(|error| trouble(&error))?;
    if id_of(&found) != opening.id {
        return Err(trouble(&rustix::io::Errno::STALE.into()));
    }
    let facts = FileReadFound {
        kind: found.kind(),
        size: found.size(),
        real_root: root.path().clone(),
        real_path: found.real_path().clone(),
        links: found.links(),
    };
    Ok((facts, found))
}

pub(super) fn id_of(found: &Found) -> HostId {
    HostId {
        device: found.stat.st_dev,
        inode: found.stat.st_ino,
    }
}

impl Handler<FileRead> for ToRead {
    type Handle = Found;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<FileRead>>,
    ) -> Result<(FileReadFound, Found), Refusal> {
        find_opened(&self.opening, context, permit.get())
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<FileRead>>,
        found: Found,
    ) -> Performed<()> {
        let permit = permit.get();
        let Opening { shared, answer, .. } = &self.opening;
        let path = permit.ask().path.as_str();
        let file = match found.open(OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => Arc::new(File::from(file)),
            Err(error) => return Performed::plain(Err(answer.trouble().note(path, &error))),
        };
        let uses = Uses {
            read: true,
            write: false,
            append: false,
            most: 0,
        };
        let (uid, inode) = (self.opening.asking.uid, self.opening.inode);
        let by_itself = self.opening.passthrough && permit.terms().passthrough();
        let Some(reply) = answer.take() else {
            return Performed::plain(Ok(()));
        };
        let open = |backing| OpenFile::new(uid, inode, uses, file, None, backing, self.place);
        let open = match by_itself {
            true => passthrough::open(shared, inode, &found, reply, open),
            false => {
                let open = open(None);
                // Each read is asked of the broker, which looks whether it is still allowed.
                reply.opened(FileHandle(shared.add_open(&open)), held::FLAGS);
                open
            }
        };
        let lease = Lease::<FileRead>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        let facts = permit.facts();
        let detail = facts
            .hard_links
            .then(|| serde_json::json!({"hard_links": true}));
        let result = held::until_closed(shared, &open, lease).await;
        Performed {
            bytes_out: open.counted().1,
            detail,
            ..Performed::plain(result)
        }
    }
}

thread_local! {
    /// One for each thread that answers reads, as long as the longest so far.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's own buffer: fresh memory of this size costs the kernel more than filling it.
fn with_buffer<T>(wanted: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        work(buffer.get_mut(..wanted).unwrap_or_default())
    })
}

/// Answers a read: at once where the kernel has the bytes in memory, else in the component's turn.
pub(super) fn read(
    shared: &Arc<Shared>,
    asker: &Arc<Asker>,
    open: Arc<OpenFile>,
    offset: u64,
    size: u32,
    reply: ReplyData,
) {
    let file = match open.file() {
        Ok(file) if open.uses.read => file,
        Ok(_) => return reply.error(Errno::EBADF),
        Err(errno) => return reply.error(errno),
    };
    let wanted = usize::try_from(size).unwrap_or(0);
    let left = with_buffer(wanted, |buffer| {
        let at_once = match open.in_memory {
            // The kernel cannot be asked not to wait there, and does not.
            true => fill(&file, buffer, offset).ok(),
            false => from_memory(&file, buffer, offset),
        };
        match at_once {
            Some(read) => {
                open.count_out(read);
                reply.data(buffer.get(..read).unwrap_or_default());
                None
            }
            None => Some(reply),
        }
    });
    let Some(reply) = left else { return };
    shared.wait(asker, move || {
        // It may have been revoked while it waited for its turn.
        let file = match open.file() {
            Ok(file) => file,
            Err(errno) => return reply.error(errno),
        };
        with_buffer(wanted, |buffer| match fill(&file, buffer, offset) {
            Ok(read) => {
                open.count_out(read);
                reply.data(buffer.get(..read).unwrap_or_default());
            }
            Err(error) => reply.error(Errno::from_i32(super::answer::number(&error))),
        });
    });
}

/// Reads without waiting for the disk; nothing when that is not possible for the whole of it.
fn from_memory(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..)?;
        if rest.is_empty() {
            return Some(filled);
        }
        let at = offset.checked_add(u64::try_from(filled).ok()?)?;
        let mut parts = [IoSliceMut::new(rest)];
        match rustix::io::preadv2(file, &mut parts, at, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Some(filled),
            Ok(read) => filled += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What an inode must be to be opened as a file.
pub(super) fn regular(shared: &Shared, inode: u64) -> Result<(HostId, bool), Errno> {
    match shared.tree().thing(inode) {
        Some(Thing::Host {
            id,
            directory: false,
            passthrough,
        }) => Ok((id, passthrough)),
        Some(_) => Err(Errno::EISDIR),
        None => Err(Errno::ESTALE),
    }
}
