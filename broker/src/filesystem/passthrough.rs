//! Files that the kernel reads by itself once they are open, where a grant says so. Nothing of what
//! is read passes the broker then: it counts no bytes, and a revocation does not reach what is open.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};
use rustix::fs::OFlags;

use super::{held, opens::OpenFile, shared::Shared};
use crate::handlers::Found;

/// The kernel takes one backing an inode, however often it is open.
#[derive(Debug, Default)]
pub(super) struct Backings(Mutex<HashMap<u64, Weak<BackingId>>>);

impl Backings {
    /// Whether the kernel reads this inode by itself now: it cannot be opened otherwise meanwhile.
    pub(super) fn is_backed(&self, inode: u64) -> bool {
        let backings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        backings
            .get(&inode)
            .is_some_and(|backing| backing.strong_count() > 0)
    }
}

/// Opens for the kernel to read by itself; where it does not want to, by copying.
pub(super) fn open(
    shared: &Arc<Shared>,
    inode: u64,
    found: &Found,
    reply: ReplyOpen,
    open: impl FnOnce(Option<Arc<BackingId>>) -> Arc<OpenFile>,
) -> Arc<OpenFile> {
    // Held until the kernel has the answer, so that no second backing is made meanwhile.
    let mut backings = shared
        .backings
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    backings.retain(|_, backing| backing.strong_count() > 0);
    let known = backings.get(&inode).and_then(Weak::upgrade);
    let copied = shared
        .opens
        .of_inode(inode)
        .iter()
        .any(|o| o.backing.is_none());
    let backing = match known {
        Some(backing) => Some(backing),
        None if copied => None,
        None => register(found, &reply),
    };
    if let Some(backing) = &backing {
        backings.insert(inode, Arc::downgrade(backing));
    }
    let open = open(backing);
    let number = FileHandle(shared.add_open(&open));
    match &open.backing {
        Some(backing) => reply.opened_passthrough(number, FopenFlags::FOPEN_NOFLUSH, backing),
        None => reply.opened(number, held::FLAGS),
    }
    open
}

/// The kernel does not look at how the descriptor was opened, so it is one for reading.
fn register(found: &Found, reply: &ReplyOpen) -> Option<Arc<BackingId>> {
    let file = found
        .open(OFlags::RDONLY | OFlags::NONBLOCK)
        .map(File::from);
    match file.and_then(|file| reply.open_backing(&file)) {
        Ok(backing) => Some(Arc::new(backing)),
        Err(error) => {
            tracing::warn!(%error, "the kernel does not read this file by itself; it is copied");
            None
        }
    }
}
