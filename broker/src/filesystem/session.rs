//! One mount's session: served until it is stopped, and begun again when it ends otherwise.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use fuser::{Config, Session, SessionACL};
use rumi_policy::PackId;

use super::{asker::Asker, dispatch::Served, mount, shared::Shared};
use crate::broker::Broker;

/// Threads that take the kernel's requests, so that one which waits for a disk after all does not
/// hold up the others.
const THREADS: usize = 2;
/// Time before a mount that fell away is made again, the first time and at most.
const PATIENCE: Duration = Duration::from_millis(50);
const LONGEST_PATIENCE: Duration = Duration::from_secs(5);
/// Time for requests under way to be answered when the mount is taken away.
const GRACE: Duration = Duration::from_secs(2);

/// Why a pack has no files.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel cannot, or the device is missing.
    #[error(
        "cannot mount /files for `{pack}`: {source}; everything else works; see: packctl doctor"
    )]
    Mount {
        /// The pack.
        pack: PackId,
        /// From the kernel.
        source: io::Error,
    },
}

/// The files of one pack, mounted until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    broker: Arc<Broker>,
    point: PathBuf,
    stopped: Arc<AtomicBool>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        let held = mount::hold(&self.point);
        if let Err(error) = mount::detach(&self.point) {
            tracing::warn!(point = %self.point.display(), %error, "a mount of files is left");
        }
        // Whoever waits for an answer that does not come can only be ended so.
        if let Ok((held, connection)) = held
            && let Some(abort) = self.broker.files_guard().abort_of(connection)
        {
            let give_up = move || {
                thread::sleep(GRACE);
                match fs::write(&abort, "1") {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(%error, "a connection of files is left");
                    }
                    _ => {}
                }
                drop(held);
            };
            let begun = thread::Builder::new().name("files-end".to_owned());
            if let Err(error) = begun.spawn(give_up) {
                tracing::warn!(%error, "a connection of files is left");
            }
        }
    }
}

impl Mounted {
    /// Mounts the pack's files at `point`, for these components.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn begin(
        broker: &Arc<Broker>,
        pack: &PackId,
        point: &Path,
        askers: Vec<Arc<Asker>>,
    ) -> Result<Self, MountError> {
        let failed = |source| MountError::Mount {
            pack: pack.clone(),
            source,
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            broker: Arc::clone(broker),
            pack: pack.clone(),
            point: point.to_owned(),
            askers,
            stopped: Arc::clone(&stopped),
        };
        let (first, ready) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name(format!("files-{pack}"))
            .spawn(move || keeper.keep(&first))
            .map_err(failed)?;
        let mounted = Self {
            broker: Arc::clone(broker),
            point: point.to_owned(),
            stopped,
        };
        match ready.recv() {
            Ok(Ok(())) => Ok(mounted),
            Ok(Err(source)) => Err(failed(source)),
            Err(gone) => Err(failed(io::Error::other(gone))),
        }
    }
}

/// Serves one mount after the other at the same place.
struct Keeper {
    broker: Arc<Broker>,
    pack: PackId,
    point: PathBuf,
    askers: Vec<Arc<Asker>>,
    stopped: Arc<AtomicBool>,
}

impl Keeper {
    fn keep(self, first: &mpsc::SyncSender<io::Result<()>>) {
        let served = match self.mount() {
            Ok(served) => {
                drop(first.send(Ok(())));
                served
            }
            Err(error) => {
                drop(first.send(Err(error)));
                return;
            }
        };
        let mut ended = self.serve(served);
        let mut patience = PATIENCE;
        while !self.is_stopped() {
            tracing::warn!(pack = %self.pack, ?ended, "the files of a pack fell away; they are mounted again");
            thread::sleep(patience);
            if self.is_stopped() {
                return;
            }
            match self.mount() {
                Ok(served) => {
                    patience = PATIENCE;
                    ended = self.serve(served);
                }
                Err(error) => {
                    patience = (patience * 2).min(LONGEST_PATIENCE);
                    ended = Err(error);
                }
            }
        }
    }

    fn serve(&self, (session, connection): (Session<Served>, Option<u32>)) -> io::Result<()> {
        let ended = session.run();
        if let Some(connection) = connection {
            self.broker.files_guard().leave(connection);
        }
        ended
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn mount(&self) -> io::Result<(Session<Served>, Option<u32>)> {
        let device = mount::attach(&self.point)?;
        let connection = mount::connection(&self.point);
        if let Err(error) = &connection {
            tracing::error!(%error, "a mount of files has no known connection and is not watched");
        }
        let shared = Shared::new(&self.broker, self.pack.clone(), self.askers.clone());
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        config.acl = SessionACL::All;
        let served = Served(Arc::clone(&shared));
        let session = Session::from_fd(served, device, SessionACL::All, config)?;
        shared.notify_by(session.notifier());
        tracing::info!(pack = %self.pack, point = %self.point.display(), "files are mounted");
        let connection = connection.ok();
        if let Some(connection) = connection {
            self.broker.files_guard().watch(connection);
        }
        Ok((session, connection))
    }
}
