//! The packs that this broker knows: what they are, where they run, and who answers for them.

mod adopt;
mod approve;
mod expansion;
mod limits;
mod load;
mod names;
mod schema;
mod staff;
mod start;
mod tool;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rumi_policy::{ComponentId, PackId};

pub use self::{
    approve::Word,
    load::Pack,
    schema::{ArgumentsError, Schema},
    start::StartError,
};
use crate::{
    broker::Broker, container::Running, filesystem::Mounted, server::Listener, workers::Pool,
};

/// All packs, by name.
#[derive(Debug)]
pub struct Packs {
    broker: Arc<Broker>,
    entries: Mutex<BTreeMap<PackId, Arc<Entry>>>,
}

/// One pack; operations on it take turns.
#[derive(Debug, Default)]
pub struct Entry {
    turn: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    message: String,
    live: Option<Live>,
    /// Somebody wanted it started, and it is not what was approved.
    waits: bool,
}

/// Where a pack is in its life.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not running, and that is as it should be.
    #[default]
    Stopped,
    /// On its way up.
    Starting,
    /// Its container runs.
    Running,
    /// It ended by itself or did not come up; the message says why.
    Failed,
}

impl Phase {
    /// The name in `packctl ps`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }
}

/// What exists only while the container runs.
#[derive(Debug)]
pub struct Live {
    /// The pack as it was when it started.
    pub pack: Arc<Pack>,
    /// Its container.
    pub running: Running,
    /// One pool for each component.
    pub pools: HashMap<ComponentId, Arc<Pool>>,
    listeners: Vec<Listener>,
    /// What its container sees as /files, where the kernel can do that.
    files: Option<Mounted>,
}

/// What `packctl ps` shows of one pack.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub id: PackId,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why, where that is not plain.
    pub message: String,
    /// Its container, while there is one.
    pub running: Option<Running>,
    /// Whether it was to be started and waits for an approval.
    pub waits: bool,
    /// Its components' pools.
    pub pools: Vec<Arc<Pool>>,
}

impl Packs {
    /// No packs yet; `adopt` finds those that run.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker,
            entries: Mutex::default(),
        })
    }

    /// The shared parts.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<PackId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, pack: &PackId) -> Arc<Entry> {
        Arc::clone(self.entries().entry(pack.clone()).or_default())
    }

    fn known(&self, pack: &PackId) -> Option<Arc<Entry>> {
        self.entries().get(pack).map(Arc::clone)
    }

    /// Drops what is known of a pack that does not run.
    fn forget(&self, pack: &PackId, entry: &Arc<Entry>) {
        let mut entries = self.entries();
        // The map's and the caller's: a third is somebody who waits for a turn, and whoever
        // came after him would have a turn of his own.
        let unused = Arc::strong_count(entry) == 2 && entry.inner().live.is_none();
        if unused {
            entries.remove(pack);
        }
    }

    /// The pool and the pack of a component that runs.
    #[must_use]
    pub fn find(&self, component: &ComponentId) -> Option<(Arc<Pack>, Arc<Pool>, String)> {
        let entry = self.entries().get(&component.pack()).map(Arc::clone)?;
        let inner = entry.inner();
        let live = inner.live.as_ref()?;
        let pool = live.pools.get(component)?;
        Some((
            Arc::clone(&live.pack),
            Arc::clone(pool),
            live.running.container.to_string(),
        ))
    }

    /// The container of a pack that runs.
    #[must_use]
    pub fn running(&self, pack: &PackId) -> Option<Running> {
        let entry = self.entries().get(pack).map(Arc::clone)?;
        let inner = entry.inner();
        inner.live.as_ref().map(|live| live.running.clone())
    }

    /// All packs, or the named ones, in order of their names.
    #[must_use]
    pub fn shown(&self, wanted: &[PackId]) -> Vec<Shown> {
        self.entries()
            .iter()
            .filter(|(id, _)| wanted.is_empty() || wanted.contains(id))
            .map(|(id, entry)| entry.shown(id))
            .collect()
    }
}

impl Entry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase, message: impl Into<String>) {
        let mut inner = self.inner();
        inner.phase = phase;
        inner.message = message.into();
    }

    /// Ends everything that depends on the container.
    fn retire(&self, phase: Phase, message: impl Into<String>) {
        let live = {
            let mut inner = self.inner();
            inner.phase = phase;
            inner.message = message.into();
            inner.live.take()
        };
        if let Some(live) = live {
            for pool in live.pools.values() {
                pool.leave_container();
            }
            drop(live.listeners);
            drop(live.files);
        }
    }

    fn shown(&self, id: &PackId) -> Shown {
        let inner = self.inner();
        let mut pools: Vec<Arc<Pool>> = inner
            .live
            .iter()
            .flat_map(|live| live.pools.values().map(Arc::clone))
            .collect();
        pools.sort_by(|a, b| a.component().cmp(b.component()));
        Shown {
            id: id.clone(),
            phase: inner.phase,
            message: inner.message.clone(),
            running: inner.live.as_ref().map(|live| live.running.clone()),
            waits: inner.waits,
            pools,
        }
    }
}
