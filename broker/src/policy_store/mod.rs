//! The policy in force: loaded as a whole, swapped as a whole, watched.

mod roots;
mod source;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rumi_policy::{AbsPath, ComponentId, PolicySet, PolicySource, SourceFile, UnixMillis};
use tokio::sync::watch as channel;

pub use self::roots::{Root, RootError, Roots};
use crate::{
    layout::Layout,
    watch::{self, WatchError},
};

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
    /// `before` lends the directories it holds open: one that was replaced since it was
    /// granted must not become another's because some grant has changed.
    fn new(set: PolicySet, before: &Roots) -> Self {
        Self {
            hash: set.hash().hex(),
            roots: before.carried_to(granted_directories(&set)),
            set,
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
    /// Grants that are in no file, by the names that their files would have. Held while the policy is read, so
    /// that no reading overtakes another.
    lent: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl PolicyStore {
    /// Reads the policy for the first time.
    #[must_use]
    pub fn load(layout: &Layout) -> Arc<Self> {
        let protected = layout.protected();
        let set = PolicySet::compile(source::read(layout, protected.clone()));
        let loaded = Loaded::new(set, &Roots::default());
        report(&loaded.set);
        Arc::new(Self {
            current: ArcSwap::from_pointee(loaded),
            changed: channel::Sender::new(0),
            layout: layout.clone(),
            protected,
            lent: Mutex::default(),
        })
    }

    /// The policy in force now. One request uses one policy from its start to its end.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Reads everything again and swaps it in when it differs; says whether it did.
    pub fn reload(&self) -> bool {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_again(&lent)
    }

    /// Puts a grant into force that is in no file, or takes it out again.
    pub fn lend(&self, component: &ComponentId, grant: Option<Vec<u8>>) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        match grant {
            Some(grant) => lent.insert(component.grant_file(), grant),
            None => lent.remove(&component.grant_file()),
        };
        self.read_again(&lent);
    }

    fn source(&self, lent: &BTreeMap<String, Vec<u8>>) -> PolicySource {
        let mut source = source::read(&self.layout, self.protected.clone());
        // A file of such a name is nobody's: what is lent counts.
        source.grants.retain(|file| !lent.contains_key(&file.name));
        source
            .grants
            .extend(lent.iter().map(|(name, bytes)| SourceFile {
                name: name.clone(),
                bytes: bytes.clone(),
            }));
        source
    }

    fn read_again(&self, lent: &BTreeMap<String, Vec<u8>>) -> bool {
        let before = self.current.load_full();
        let set = PolicySet::compile(self.source(lent));
        if set.hash() == before.set.hash() {
            return false;
        }
        let loaded = Loaded::new(set, &before.roots);
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
        let store = Arc::clone(self);
        let layout = &self.layout;
        let directories = vec![layout.home().to_owned(), layout.grants(), layout.scopes()];
        watch::start("rumi-policy", directories, move || {
            if store.reload() {
                on_change(&store.current().set);
            }
        })
    }
}

/// Every directory that a valid grant names, and those of files that it names by themselves.
fn granted_directories(set: &PolicySet) -> impl Iterator<Item = AbsPath> {
    set.components()
        .filter_map(|component| set.grant(component))
        .flat_map(|grant| {
            let files = [grant.file_read(), grant.file_write()];
            let read_and_written = files.into_iter().flatten().flat_map(|file| {
                let beside = file.files.iter().flatten().filter_map(AbsPath::parent);
                file.directories.iter().cloned().chain(beside)
            });
            let worked_in = grant
                .terminal()
                .into_iter()
                .flat_map(|terminal| terminal.directories.iter().cloned());
            read_and_written.chain(worked_in)
        })
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
