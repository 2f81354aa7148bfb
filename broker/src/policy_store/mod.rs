//! The policy in force: loaded as a whole, swapped as a whole, watched.

mod roots;
mod source;
mod watch;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rumi_policy::{AbsPath, PolicySet, UnixMillis};
use tokio::sync::watch as channel;

pub use self::{
    roots::{Root, RootError, Roots},
    watch::WatchError,
};
use crate::layout::Layout;

/// One policy and the directories that are open under it.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled scopes and grants.
    pub set: PolicySet,
    /// Handles of granted directories, each opened once.
    pub roots: Roots,
    hash: String,
}

impl Loaded {
    fn compile(layout: &Layout, protected: &[AbsPath]) -> Self {
        let set = PolicySet::compile(source::read(layout, protected.to_vec()));
        Self {
            hash: set.hash().hex(),
            set,
            roots: Roots::default(),
        }
    }

    /// SHA-256 over the files, in hex, as records name it.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Where requests find the policy, without opening a file.
#[derive(Debug)]
pub struct PolicyStore {
    current: ArcSwap<Loaded>,
    changed: channel::Sender<u64>,
    layout: Layout,
    protected: Vec<AbsPath>,
}

impl PolicyStore {
    /// Reads the policy for the first time.
    #[must_use]
    pub fn load(layout: &Layout) -> Arc<Self> {
        let protected = layout.protected();
        let loaded = Loaded::compile(layout, &protected);
        report(&loaded.set);
        Arc::new(Self {
            current: ArcSwap::from_pointee(loaded),
            changed: channel::Sender::new(0),
            layout: layout.clone(),
            protected,
        })
    }

    /// The policy in force now. One request uses one policy from its start to its end.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Reads everything again and swaps it in when it differs; says whether it did.
    pub fn reload(&self) -> bool {
        let loaded = Loaded::compile(&self.layout, &self.protected);
        if loaded.hash == self.current.load().hash {
            return false;
        }
        report(&loaded.set);
        self.current.store(Arc::new(loaded));
        self.changed.send_modify(|number| *number += 1);
        true
    }

    /// Wakes whoever holds a lease whenever the policy has changed.
    #[must_use]
    pub fn subscribe(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Follows the directories for as long as the process lives.
    ///
    /// # Errors
    /// When the kernel refuses to watch.
    pub fn watch(
        self: &Arc<Self>,
        on_change: impl Fn(&PolicySet) + Send + 'static,
    ) -> Result<(), WatchError> {
        watch::start(Arc::clone(self), on_change)
    }
}

fn report(set: &PolicySet) {
    for problem in set.problems() {
        tracing::error!(%problem, "a policy file is refused");
    }
    tracing::info!(policy = %set.hash().hex(), "policy loaded");
}

/// The time of a decision.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
