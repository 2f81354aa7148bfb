//! Follows the policy directories. Any event means: read everything again.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::AccessKind};
use rumi_policy::PolicySet;

use super::PolicyStore;

/// Catches what inotify lost: an overflow, a file system that reports nothing.
const RESCAN: Duration = Duration::from_secs(30);
/// Events that come this close together are answered by one reading.
const QUIET: Duration = Duration::from_millis(10);
/// A storm of events is answered at least this often.
const STORM: Duration = Duration::from_millis(200);

/// Why the directories cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// inotify refused.
    #[error(
        "cannot watch the policy directories; is fs.inotify.max_user_instances exhausted? (sysctl fs.inotify)"
    )]
    Notify(#[from] notify::Error),
    /// No thread.
    #[error("cannot start the thread that watches the policy")]
    Thread(#[from] std::io::Error),
}

struct Watch {
    store: Arc<PolicyStore>,
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    followed: Vec<(PathBuf, Option<(u64, u64)>)>,
}

pub(super) fn start(
    store: Arc<PolicyStore>,
    on_change: impl Fn(&PolicySet) + Send + 'static,
) -> Result<(), WatchError> {
    let (wake, events) = mpsc::sync_channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own readings are events too; answering those would never end. An error
        // (an overflow) counts as a change, for it says that something was lost.
        let ours = matches!(
            event.as_ref().map(|event| event.kind),
            Ok(EventKind::Access(AccessKind::Open(_) | AccessKind::Read))
                | Ok(EventKind::Access(AccessKind::Close(
                    notify::event::AccessMode::Read
                )))
        );
        if !ours {
            match wake.try_send(()) {
                // A full channel means that a reading is due anyway.
                Ok(()) | Err(mpsc::TrySendError::Full(())) => {}
                Err(mpsc::TrySendError::Disconnected(())) => {
                    tracing::error!("nobody reads the policy anew any more");
                }
            }
        }
    })?;
    let layout = &store.layout;
    let followed = [layout.home().to_owned(), layout.grants(), layout.scopes()]
        .into_iter()
        .map(|path| (path, None))
        .collect();
    let mut watch = Watch {
        store,
        watcher,
        events,
        followed,
    };
    watch.follow();
    std::thread::Builder::new()
        .name("rumi-policy".to_owned())
        .spawn(move || watch.run(on_change))?;
    Ok(())
}

impl Watch {
    /// Watches each directory; one that was replaced is a new inode, and its watch is dead.
    fn follow(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        for (path, known) in &mut self.followed {
            let now = std::fs::metadata(&*path)
                .ok()
                .map(|metadata| (metadata.dev(), metadata.ino()));
            if now == *known {
                continue;
            }
            // The old watch goes with its inode; that it is gone already is no error.
            drop(self.watcher.unwatch(path));
            let watched = now.filter(|_| {
                self.watcher
                    .watch(path, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        tracing::error!(path = %path.display(), %error, "cannot watch a policy directory; it is read every 30 s");
                    })
                    .is_ok()
            });
            *known = watched;
        }
    }

    fn run(mut self, on_change: impl Fn(&PolicySet)) {
        loop {
            match self.events.recv_timeout(RESCAN) {
                Ok(()) => self.settle(),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.follow();
            if self.store.reload() {
                on_change(&self.store.current().set);
            }
        }
    }

    /// Waits until the events pause, but not for longer than a storm may hold the policy up.
    fn settle(&self) {
        let start = Instant::now();
        while start.elapsed() < STORM && self.events.recv_timeout(QUIET).is_ok() {}
    }
}
