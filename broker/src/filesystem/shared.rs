//! What all requests of one mount share.

use std::{
    ffi::OsStr,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use fuser::{Errno, INodeNo, Notifier};
use futures_util::FutureExt as _;
use rumi_audit::Decision;
use rumi_policy::{AbsPath, PackId, Reason};
use tokio::runtime::Handle;

use super::{
    asker::{Asker, Asking, Strangers},
    opens::{OpenFile, Opens},
    passthrough::Backings,
    tree::{Full, Thing, Tree},
};
use crate::broker::Broker;

/// Time between two rounds of asking the kernel to forget.
const ROUND: Duration = Duration::from_millis(100);

/// One mount of one pack, from one start of its session to the end.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) broker: Arc<Broker>,
    pub(super) pack: PackId,
    askers: Vec<Arc<Asker>>,
    tree: Mutex<Tree>,
    pub(super) opens: Opens,
    strangers: Strangers,
    notifier: OnceLock<Notifier>,
    runtime: Handle,
    /// Whether the kernel can read files by itself.
    pub(super) passthrough: OnceLock<bool>,
    pub(super) backings: Backings,
}

impl Shared {
    pub(super) fn new(broker: &Arc<Broker>, pack: PackId, askers: Vec<Arc<Asker>>) -> Arc<Self> {
        Arc::new(Self {
            broker: Arc::clone(broker),
            pack,
            askers,
            tree: Mutex::new(Tree::new()),
            opens: Opens::default(),
            strangers: Strangers::default(),
            notifier: OnceLock::new(),
            runtime: broker.files_runtime().clone(),
            passthrough: OnceLock::new(),
            backings: Backings::default(),
        })
    }

    pub(super) fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn notify_by(&self, notifier: Notifier) {
        self.notifier.get_or_init(|| notifier);
    }

    /// Who asks, where it is a component of this pack.
    pub(super) fn asker(self: &Arc<Self>, asking: Asking) -> Option<Arc<Asker>> {
        let known = self.askers.iter().find(|asker| asker.uid() == asking.uid);
        if known.is_none() && self.strangers.is_new(asking.uid) {
            let shared = Arc::clone(self);
            self.drive(async move { shared.record_stranger(asking).await });
        }
        known.map(Arc::clone)
    }

    /// The component that opened a file.
    pub(super) fn owner(&self, open: &OpenFile) -> Option<Arc<Asker>> {
        let mut askers = self.askers.iter();
        askers
            .find(|asker| open.belongs_to(asker.uid()))
            .map(Arc::clone)
    }

    async fn record_stranger(&self, asking: Asking) {
        let policy = self.broker.policy().current();
        let decision = Decision {
            pack: self.pack.as_str(),
            component: "",
            container: None,
            peer: asking.peer(),
            invocation: None,
            permission: "file_read",
            action: "look",
            target: b"/files",
            grant: None,
            policy: policy.hash(),
            detail: None,
        };
        let reason = Reason::UnknownComponent.as_str();
        if let Err(error) = self.broker.audit().record_denial(decision, reason).await {
            tracing::error!(%error, "a stranger's request could not be recorded");
        }
        tracing::warn!(pack = %self.pack, uid = asking.uid, "a uid that is no component's asked for files");
    }

    /// Goes as far as it can on the session's thread, because most requests need not wait for
    /// anything; what has to wait goes on elsewhere and holds up nobody.
    pub(super) fn drive(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
        let _entered = self.runtime.enter();
        match work.as_mut().now_or_never() {
            Some(ended) => survived(ended),
            None => drop(self.runtime.spawn(async move { survived(work.await) })),
        }
    }

    /// Does what may block, in the component's turn, away from the session's threads.
    pub(super) fn wait(&self, asker: &Arc<Asker>, work: impl FnOnce() + Send + 'static) {
        if let Some(place) = asker.place_now() {
            // Without the detour by way of a task: each thread that is woken costs as much as the work.
            drop(self.runtime.spawn_blocking(move || {
                let _place = place;
                let ended = std::panic::catch_unwind(AssertUnwindSafe(work));
                survived(ended);
            }));
            return;
        }
        let asker = Arc::clone(asker);
        drop(self.runtime.spawn(async move {
            let _place = asker.place_to_wait().await;
            let ended = tokio::task::spawn_blocking(work).await;
            if let Err(error) = ended {
                tracing::error!(%error, "a file operation failed in the broker");
            }
        }));
    }

    /// Numbers what was opened, for the kernel to name it by.
    pub(super) fn add_open(&self, open: &Arc<OpenFile>) -> u64 {
        self.tree().opened(open.inode);
        self.opens.add_file(open)
    }

    /// Drops what the kernel has of a file's content, so that mapped pages are asked for again.
    pub(super) fn invalidate(self: &Arc<Self>, inode: u64) {
        let Some(notifier) = self.notifier.get().cloned() else {
            return;
        };
        // The kernel may wait for reads that the session's threads have to answer.
        drop(self.runtime.spawn_blocking(move || {
            if let Err(error) = notifier.inval_inode(INodeNo(inode), 0, -1) {
                tracing::warn!(%error, "the kernel keeps pages of a file that was revoked");
            }
        }));
    }

    /// The path of a name in a directory.
    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Result<AbsPath, Errno> {
        if name.len() > 255 {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = name.to_str().ok_or(Errno::EILSEQ)?;
        let parent = self.tree().path(parent).ok_or(Errno::ESTALE)?;
        parent.join(name).map_err(|_| Errno::ENAMETOOLONG)
    }

    /// Remembers what a name stands for, and has the kernel forget others when there are too many.
    pub(super) fn remember(
        self: &Arc<Self>,
        parent: u64,
        name: &OsStr,
        thing: Thing,
    ) -> Result<u64, Errno> {
        let name = name.to_str().ok_or(Errno::EILSEQ)?;
        let (remembered, oldest) = {
            let mut tree = self.tree();
            (tree.remember(parent, name, thing), tree.oldest_idle())
        };
        if let Some(oldest) = oldest {
            self.have_forgotten(oldest);
        }
        remembered.map_err(|Full| Errno::ENFILE)
    }

    fn have_forgotten(self: &Arc<Self>, oldest: Vec<(u64, Box<str>)>) {
        let shared = Arc::clone(self);
        drop(self.runtime.spawn(async move {
            let notifier = shared.notifier.get().cloned();
            let told = tokio::task::spawn_blocking(move || {
                let Some(notifier) = notifier else { return };
                for (parent, name) in oldest {
                    // One that is gone already is as good as forgotten.
                    drop(notifier.inval_entry(INodeNo(parent), OsStr::new(&*name)));
                }
            });
            drop(told.await);
            tokio::time::sleep(ROUND).await;
            shared.tree().told();
        }));
    }
}

fn survived(ended: Result<(), Box<dyn std::any::Any + Send>>) {
    if ended.is_err() {
        tracing::error!("a request to the file system panicked; it was answered with an error");
    }
}
