//! The commands that run now, so that an admin sees them and can end one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rumi_policy::ComponentId;
use tokio_util::sync::CancellationToken;

/// One command that runs.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The audit record of its decision, which is its name as well.
    pub record: String,
    /// On whose behalf.
    pub component: ComponentId,
    /// What runs.
    pub argv: Vec<String>,
    /// Where it works.
    pub directory: String,
    /// Whether on the host itself.
    pub on_host: bool,
    /// Since when.
    pub since: SystemTime,
}

#[derive(Debug)]
struct Entry {
    shown: Shown,
    stop: CancellationToken,
}

/// All of them, by record.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Registry {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a command for as long as what it returns lives.
    #[must_use]
    pub fn enter(&self, shown: Shown) -> Entered {
        let stop = CancellationToken::new();
        let record = shown.record.clone();
        let entry = Entry {
            shown,
            stop: stop.clone(),
        };
        self.entries().insert(record.clone(), entry);
        Entered {
            registry: self.clone(),
            record,
            stop,
        }
    }

    /// All that run, the oldest first.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = self
            .entries()
            .values()
            .map(|entry| entry.shown.clone())
            .collect();
        all.sort_by_key(|shown| shown.since);
        all
    }

    /// One that runs.
    #[must_use]
    pub fn find(&self, record: &str) -> Option<Shown> {
        self.entries().get(record).map(|entry| entry.shown.clone())
    }

    /// Ends one; says whether it ran still.
    #[must_use]
    pub fn stop(&self, record: &str) -> bool {
        let entries = self.entries();
        let found = entries.get(record);
        if let Some(entry) = found {
            entry.stop.cancel();
        }
        found.is_some()
    }
}

/// A place among the commands that run.
#[derive(Debug)]
pub struct Entered {
    registry: Registry,
    record: String,
    stop: CancellationToken,
}

impl Entered {
    /// Resolves when an admin wants it to end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.entries().remove(&self.record);
    }
}
