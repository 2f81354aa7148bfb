//! Who asks: the kernel names a uid with each request, and each component has one of its own.

use std::sync::{Arc, Mutex, PoisonError};

use fuser::Request;
use rumi_audit::Peer;
use rumi_policy::ComponentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::looks::Looks;
use crate::{
    caller::{Behalf, Caller, Identity},
    workers::Pool,
};

/// Files and directories that a component may have open at once.
const OPEN: usize = 1_024;
/// Slow operations of a component under way at once; others of its own wait.
const SLOW: usize = 8;

/// One component of the mount's pack.
#[derive(Debug)]
pub(crate) struct Asker {
    identity: Arc<Identity>,
    pool: Arc<Pool>,
    uid: u32,
    open: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    pub(super) looks: Looks,
}

impl Asker {
    /// For the component whose socket has this identity.
    pub(crate) fn new(identity: Arc<Identity>, pool: Arc<Pool>, uid: u32) -> Arc<Self> {
        Arc::new(Self {
            identity,
            pool,
            uid,
            open: Arc::new(Semaphore::new(OPEN)),
            slow: Arc::new(Semaphore::new(SLOW)),
            looks: Looks::default(),
        })
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn component(&self) -> &ComponentId {
        self.pool.component()
    }

    /// The caller of a request that is recorded by itself, with the call it belongs to.
    pub(super) fn caller(&self, asking: Asking) -> Caller {
        let behalf = self.pool.behalf_of(self.pool.place_of(asking.pid));
        Caller::new(Arc::clone(&self.identity), asking.peer(), behalf).in_kernel()
    }

    /// The caller of requests that are summed: they belong to no one call.
    pub(super) fn summed_caller(&self, asking: Asking) -> Caller {
        Caller::new(Arc::clone(&self.identity), asking.peer(), Behalf::Nobody)
    }

    /// A place among the open files, if there is one.
    pub(super) fn place_to_open(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.open).try_acquire_owned().ok()
    }

    /// A place among the slow operations, if there is one and nobody waits for it.
    pub(super) fn place_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slow).try_acquire_owned().ok()
    }

    /// Waits until the component may begin one more slow operation.
    pub(super) async fn place_to_wait(&self) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore.
        Arc::clone(&self.slow).acquire_owned().await.ok()
    }
}

/// The head of a request, as far as it names who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pid: u32,
}

impl Asking {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            uid: request.uid(),
            gid: request.gid(),
            pid: request.pid(),
        }
    }

    pub(super) fn peer(self) -> Peer {
        Peer {
            uid: self.uid,
            pid: self.pid,
        }
    }
}

/// Strangers' uids that are remembered; more are only refused.
const STRANGERS: usize = 64;

/// Uids that are no component's, so that each is recorded once and not once a request.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Vec<u32>>);

impl Strangers {
    /// Whether this one was not seen before and should be recorded.
    pub(super) fn is_new(&self, uid: u32) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&uid) || seen.len() >= STRANGERS {
            return false;
        }
        seen.push(uid);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_recorded_once() {
        let strangers = Strangers::default();
        assert!(strangers.is_new(0));
        assert!(!strangers.is_new(0));
        for uid in 1..1_000 {
            strangers.is_new(uid);
        }
        assert!(!strangers.is_new(5_000), "their number is bounded");
    }
}
