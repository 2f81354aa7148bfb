//! Follows directories of the admin's. Any event means: read everything again.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, ModifyKind},
};

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
        "cannot watch the admin's directories; is fs.inotify.max_user_instances exhausted? (sysctl fs.inotify)"
    )]
    Notify(#[from] notify::Error),
    /// No thread.
    #[error("cannot start the thread that watches the admin's directories")]
    Thread(#[from] std::io::Error),
}

struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    followed: Vec<(PathBuf, Option<(u64, u64)>)>,
    /// A directory may have been removed and made again, under the same inode number even.
    replaced: Arc<AtomicBool>,
}

/// Calls `read` on a thread of its own, at once and whenever something may have changed in one of the
/// directories. One that may be replaced needs its parent beside it.
///
/// # Errors
/// When the kernel refuses to watch.
pub fn start(
    thread: &str,
    directories: Vec<PathBuf>,
    read: impl FnMut() + Send + 'static,
) -> Result<(), WatchError> {
    let (wake, events) = mpsc::sync_channel(1);
    let replaced = Arc::new(AtomicBool::new(false));
    let (watched, noting) = (directories.clone(), Arc::clone(&replaced));
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
            if may_replace(&event, &watched) {
                noting.store(true, Ordering::Release);
            }
            match wake.try_send(()) {
                // A full channel means that a reading is due anyway.
                Ok(()) | Err(mpsc::TrySendError::Full(())) => {}
                Err(mpsc::TrySendError::Disconnected(())) => {
                    tracing::error!("nobody reads the directories anew any more");
                }
            }
        }
    })?;
    let followed = directories.into_iter().map(|path| (path, None)).collect();
    let mut watch = Watch {
        watcher,
        events,
        followed,
        replaced,
    };
    watch.follow();
    std::thread::Builder::new()
        .name(thread.to_owned())
        .spawn(move || watch.run(read))?;
    Ok(())
}

/// Whether a watched directory may be another now. What was lost may have been just that.
fn may_replace(event: &notify::Result<notify::Event>, watched: &[PathBuf]) -> bool {
    let Ok(event) = event else { return true };
    let moved = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    event.need_rescan() || (moved && event.paths.iter().any(|path| watched.contains(path)))
}

impl Watch {
    /// Watches each directory; the watch of one that was replaced is dead.
    fn follow(&mut self) {
        use std::os::unix::fs::MetadataExt as _;
        let replaced = self.replaced.swap(false, Ordering::AcqRel);
        for (path, known) in &mut self.followed {
            let now = std::fs::metadata(&*path)
                .ok()
                .map(|metadata| (metadata.dev(), metadata.ino()));
            if now == *known && !replaced {
                continue;
            }
            // The old watch goes with its inode; that it is gone already is no error.
            drop(self.watcher.unwatch(path));
            let watched = now.filter(|_| {
                self.watcher
                    .watch(path, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        tracing::error!(path = %path.display(), %error, "cannot watch a directory; it is read every 30 s");
                    })
                    .is_ok()
            });
            *known = watched;
        }
    }

    fn run(mut self, mut read: impl FnMut()) {
        // Once before any event: what was changed since its reader read it last, and before it was
        // watched, is no event.
        read();
        loop {
            match self.events.recv_timeout(RESCAN) {
                Ok(()) => self.settle(),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.follow();
            read();
        }
    }

    /// Waits until the events pause, but not for longer than a storm may hold a reading up.
    fn settle(&self) {
        let start = Instant::now();
        while start.elapsed() < STORM && self.events.recv_timeout(QUIET).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_before_it_was_watched_is_read_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let (told, read) = mpsc::channel();
        let tell = move || told.send(()).unwrap_or_default();
        start("test-watch", vec![directory.path().to_owned()], tell).unwrap();
        // Without any event the next reading is half a minute away.
        read.recv_timeout(RESCAN / 2).unwrap();
    }
}
