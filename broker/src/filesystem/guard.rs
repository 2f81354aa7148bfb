//! The broker's side of the watchdog: started, told of connections and of being alive, and started
//! again when it ends.

use std::{
    collections::BTreeSet,
    ffi::CStr,
    fs, io,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::mount::{MountFlags, mount};
use tokio::runtime::Handle;

/// Time between two signs of life; the watchdog waits for three seconds.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long the runtime of files may be without a turn: a disk that is slow is no broker that hangs.
const TURN: Duration = Duration::from_secs(30);
/// The word by which the broker's own program is a watchdog.
pub const WATCHDOG: &str = "watch-files";
/// Where the kernel lists FUSE connections, as a rule.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
/// The kernel's name for that file system, and its number.
const FUSECTL: &CStr = c"fusectl";
const FUSECTL_MAGIC: u64 = 0x6573_5543;

/// The watchdog of all mounts. When it is dropped the watchdog ends.
#[derive(Debug)]
pub(crate) struct Guard {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: Option<PathBuf>,
    watched: BTreeSet<u32>,
    process: Option<(Child, ChildStdin)>,
}

impl Guard {
    /// Finds where connections are listed; the process is started with the first of them.
    pub(crate) fn new(run: &Path) -> Arc<Self> {
        let connections = match listing(run) {
            Ok(listing) => Some(listing),
            Err(error) => {
                tracing::error!(%error, "the kernel's FUSE connections cannot be seen, so files that hang cannot be let go");
                None
            }
        };
        Arc::new(Self {
            inner: Mutex::new(Inner {
                connections,
                ..Inner::default()
            }),
        })
    }

    /// Whether connections can be let go.
    pub(crate) fn is_able(&self) -> bool {
        self.inner().connections.is_some()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the watchdog, from now on, that the broker runs: from a thread that takes no part in
    /// the work, so that neither a disk nor a lock that others wait for ends everybody's files.
    /// Only a runtime that gets no turn at all for long is taken to hang too.
    pub(crate) fn beat(self: &Arc<Self>, runtime: &Handle) -> io::Result<()> {
        let guard = Arc::downgrade(self);
        let runtime = runtime.clone();
        let turns = move || {
            let (turn, taken) = mpsc::sync_channel(1);
            drop(runtime.spawn(async move { turn.try_send(()).is_ok() }));
            taken
        };
        let beat = move || {
            let (mut asked, mut taken) = (Instant::now(), turns());
            loop {
                thread::sleep(HEARTBEAT);
                let Some(guard) = guard.upgrade() else { return };
                if taken.try_recv().is_ok() {
                    (asked, taken) = (Instant::now(), turns());
                }
                if asked.elapsed() < TURN {
                    guard.inner().tell("\n");
                }
            }
        };
        thread::Builder::new()
            .name("files-heartbeat".to_owned())
            .spawn(beat)
            .map(drop)
    }

    /// Where the kernel is told to give up a connection.
    pub(super) fn abort_of(&self, connection: u32) -> Option<PathBuf> {
        let inner = self.inner();
        let listing = inner.connections.as_ref()?;
        Some(listing.join(connection.to_string()).join("abort"))
    }

    /// A connection was made.
    pub(super) fn watch(&self, connection: u32) {
        let mut inner = self.inner();
        inner.watched.insert(connection);
        inner.tell(&format!("+{connection}\n"));
    }

    /// A connection has ended.
    pub(super) fn leave(&self, connection: u32) {
        let mut inner = self.inner();
        inner.watched.remove(&connection);
        inner.tell(&format!("-{connection}\n"));
    }
}

impl Inner {
    /// A watchdog that does not take its lines is ended, and another begun with all it must know.
    fn tell(&mut self, line: &str) {
        if let Some((_, lines)) = &mut self.process
            && lines.write_all(line.as_bytes()).is_ok()
        {
            return;
        }
        if let Some((mut child, lines)) = self.process.take() {
            drop(lines);
            drop(child.kill());
            drop(child.wait());
        }
        if self.watched.is_empty() {
            return;
        }
        let Some(connections) = &self.connections else {
            return;
        };
        match start(connections) {
            Ok((child, mut lines)) => {
                let known: String = self.watched.iter().map(|n| format!("+{n}\n")).collect();
                if let Err(error) = lines.write_all(known.as_bytes()) {
                    tracing::error!(%error, "the watchdog of files does not listen");
                }
                self.process = Some((child, lines));
            }
            Err(error) => tracing::error!(%error, "the watchdog of files cannot be started"),
        }
    }
}

fn start(connections: &Path) -> io::Result<(Child, ChildStdin)> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("rumi-broker")
        .arg(WATCHDOG)
        .arg(connections)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // What stops the broker from its terminal must not stop the watchdog.
        .process_group(0)
        .spawn()?;
    let lines = child.stdin.take();
    lines
        .map(|lines| (child, lines))
        .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// The directory of connections: where it is mounted already, or mounted below the broker's own.
fn listing(run: &Path) -> io::Result<PathBuf> {
    let usual = PathBuf::from(CONNECTIONS);
    if is_fusectl(&usual) {
        return Ok(usual);
    }
    if mount("none", CONNECTIONS, FUSECTL, MountFlags::empty(), None).is_ok() {
        return Ok(usual);
    }
    let own = run.join("connections");
    if is_fusectl(&own) {
        return Ok(own);
    }
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    mount("none", &own, FUSECTL, MountFlags::empty(), None)?;
    Ok(own)
}

fn is_fusectl(path: &Path) -> bool {
    let magic = rustix::fs::statfs(path).map(|stat| stat.f_type);
    magic.is_ok_and(|magic| u64::try_from(magic) == Ok(FUSECTL_MAGIC))
}
