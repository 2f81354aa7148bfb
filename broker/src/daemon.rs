//! Start-up and shutdown of the daemon.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rumi_audit::{Admin, Durability, Log, LogOptions, Peer, PolicyChange};
use rumi_policy::PolicySet;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    approval::Approvals,
    args::Args,
    broker::{Broker, Parts},
    config::{Config, ConfigError, EnvironmentError, PythonDefaults},
    container::{Engine, EngineError, Instance, Programs, UidError, Uids, Workspaces},
    control::{self, ControlError, ControlService},
    custom,
    exec::Executor,
    executions::Executions,
    filesystem::Guard,
    layout::{Layout, LayoutError},
    logging,
    outbound::{NameServers, Resolver, Tls},
    packs::{Packs, StartError},
    policy_store::PolicyStore,
    quota::Quotas,
    secrets::{Store, Values, import},
    trust::Bundles,
    usage::Usages,
    watch::WatchError,
};

/// How long what still runs may take at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(3);
/// How long containers of ad-hoc code, those that are just being made as well, may take to be gone.
const CODE_SHUTDOWN: Duration = Duration::from_secs(10);
/// Threads of a runtime that may wait for the kernel.
const BLOCKING: usize = 16;
/// The same for files. A component may have eight of them wait for its disk at once, and 64
/// components that do so must not stop the next one. They come and go with what has to wait.
const BLOCKING_FILES: usize = 520;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Sockets must be given to other uids.
    #[error(
        "must run as root: it gives each component's socket to the component's uid; remedy: sudo rumi-broker …"
    )]
    NotRoot,
    /// A directory cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Another broker serves this state.
    #[error(
        "another broker already runs on the state directory `{state}`; stop it first, or give --state another directory"
    )]
    AlreadyRunning {
        /// The state directory.
        state: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot lock the state directory `{state}`")]
    Lock {
        /// The state directory.
        state: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
    /// No runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// No diagnostics.
    #[error("cannot write diagnostics to the state directory")]
    Logging(#[from] tracing_appender::rolling::InitError),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The environment cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The audit log refuses to open.
    #[error(transparent)]
    Audit(#[from] rumi_audit::OpenError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Unavailable(#[from] rumi_audit::Unavailable),
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The components' uids cannot be read.
    #[error(transparent)]
    Uids(#[from] UidError),
    /// The record of executions cannot be opened.
    #[error("cannot open executions.jsonl in the state directory")]
    Executions(#[source] io::Error),
    /// The guest is not there.
    #[error("the guest binary `{path}` is not there; remedy: make build, or give --guest")]
    Guest {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The socket directory cannot be made a shared mount.
    #[error(transparent)]
    Mount(#[from] crate::container::MountError),
    /// The policy cannot be followed.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// No control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Packs that run cannot be adopted.
    #[error("cannot adopt the packs that run")]
    Adopt(#[source] StartError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When start-up fails; nothing is left half-started then.
pub fn run(args: Args) -> Result<(), DaemonError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    let layout = Layout::prepare(&args.home, &args.state, &args.run)?;
    let _lock = lock(layout.state())?;
    let _guard = logging::start(&layout.log())?;
    raise_file_limit();
    forbid_dumps();
    // Two runtimes of one worker each: small requests on one are not held up by builds,
    // calls and downloads on the other.
    let requests = runtime("rumi-requests", BLOCKING)?;
    let background = runtime("rumi-background", BLOCKING)?;
    // A third of its own for what files have to wait for: a slow disk below `/files` delays neither.
    let files = runtime("rumi-files", BLOCKING_FILES)?;
    let runtimes = Runtimes {
        requests: requests.handle(),
        background: background.handle(),
        files: files.handle(),
    };
    let ended = background.block_on(serve(&args, layout, runtimes));
    requests.shutdown_timeout(SHUTDOWN);
    background.shutdown_timeout(SHUTDOWN);
    files.shutdown_timeout(SHUTDOWN);
    ended
}

/// Where requests of different kinds run.
#[derive(Debug, Clone, Copy)]
struct Runtimes<'a> {
    requests: &'a Handle,
    background: &'a Handle,
    files: &'a Handle,
}

fn runtime(name: &str, blocking: usize) -> Result<Runtime, DaemonError> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(blocking)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)
}

/// One broker a state directory: two would write one log.
fn lock(state: &Path) -> Result<File, DaemonError> {
    let failed = |source| DaemonError::Lock {
        state: state.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(state.join("broker.lock"))
        .map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DaemonError::AlreadyRunning {
            state: state.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Each component may hold hundreds of connections, and each granted directory a handle.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// A core file of this process would hold every secret. The kernel asks the limit where it writes a
/// file, and the flag where it feeds a program; the flag also keeps debuggers of other users away.
fn forbid_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core files stay allowed");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process can still be dumped");
    }
}

async fn serve(args: &Args, layout: Layout, runtimes: Runtimes<'_>) -> Result<(), DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let broker = assemble(args, layout, runtimes).await?;
    crate::container::make_shared(&broker.layout().packs_run())?;
    clean_sandboxes(&broker).await;
    note_policy(&broker, &broker.policy().current().set).await?;
    let noting = Arc::clone(&broker);
    let handle = runtimes.background.clone();
    broker.policy().watch(move |set| {
        noting.bundles().follow(set);
        if let Err(error) = handle.block_on(note_policy(&noting, set)) {
            tracing::error!(%error, "a change of policy could not be recorded");
        }
    })?;
    let packs = Packs::new(Arc::clone(&broker));
    packs.adopt_all().await.map_err(DaemonError::Adopt)?;
    packs.follow();
    broker.have_handlers(custom::start(&packs)?);
    packs.follow_grants();
    let stop = CancellationToken::new();
    let exec = Executor::new(Arc::clone(&broker));
    let service = ControlService::new(packs, Arc::clone(&exec));
    control::serve(&broker.layout().control_socket(), service, stop.clone())?;
    notify_ready();
    tracing::info!(socket = %broker.layout().control_socket().display(), "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; containers go on and are adopted by the next start");
    // Streams first: an open one would keep a graceful end waiting for ever.
    stop.cancel();
    remove_socket(&broker.layout().control_socket());
    // What is left is removed by the next start.
    if tokio::time::timeout(CODE_SHUTDOWN, exec.close())
        .await
        .is_err()
    {
        tracing::warn!("containers of ad-hoc code are left");
    }
    Ok(broker.audit().close()?)
}

async fn assemble(
    args: &Args,
    layout: Layout,
    runtimes: Runtimes<'_>,
) -> Result<Arc<Broker>, DaemonError> {
    let mut config = Config::load(&layout.config())?;
    config.python = PythonDefaults::read(|name| std::env::var_os(name))?;
    let guest = guest(args)?;
    let options = LogOptions {
        durability: config.audit.durability.into(),
        segment_bytes: config.audit.segment_size.bytes(),
        ..LogOptions::new(
            layout.audit(),
            layout.keys().join("audit.key"),
            format!("rumi/{}", hostname()),
        )
    };
    let audit = Log::open(options)?;
    let engine = Engine::connect(&args.docker, Instance::of_state(layout.state())).await?;
    let engine = engine.under(config.runtime.clone())?;
    let tls = Tls::system();
    for problem in tls.problems() {
        tracing::warn!(%problem, "a root certificate is left out");
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let secrets = Arc::new(Store::open(
        layout.secrets(),
        &layout.keys(),
        credentials.as_deref(),
    ));
    take_over_secrets(&layout.plain_secrets(), &secrets, &audit).await?;
    let files_guard = Guard::new(layout.run());
    files_guard
        .beat(runtimes.files)
        .map_err(DaemonError::Runtime)?;
    let parts = Parts {
        policy: PolicyStore::load(&layout),
        values: Values::new(Arc::clone(&secrets), config.env.sources.clone()),
        secrets,
        bundles: Bundles::new(layout.clone(), tls.roots()),
        resolver: Resolver::new(name_servers(&config)),
        tls,
        quotas: Quotas::open(layout.quota()),
        approvals: Approvals::new(layout.approvals()),
        usages: Usages::open(
            layout.usage(),
            config.audit.durability == crate::config::Durability::Power,
        ),
        engine,
        programs: Programs::default(),
        uids: Uids::open(layout.state())?,
        workspaces: Workspaces::new(
            layout.home().join("docker/sandbox"),
            config.workspace.allow_unlimited,
        ),
        guest,
        executions: Executions::open(&layout.log()).map_err(DaemonError::Executions)?,
        requests: runtimes.requests.clone(),
        background: runtimes.background.clone(),
        files: runtimes.files.clone(),
        files_guard,
        audit,
        config,
        layout,
    };
    Ok(Broker::new(parts))
}

/// Seals what earlier versions kept in the open. What cannot be taken over stays where it is, is not
/// used, and `packctl doctor` says so.
async fn take_over_secrets(
    plain: &Path,
    secrets: &Store,
    audit: &Log,
) -> Result<(), rumi_audit::Unavailable> {
    match import(plain, secrets) {
        Ok(None) => return Ok(()),
        Ok(Some(found)) => {
            let names: Vec<_> = found.names().map(ToString::to_string).collect();
            let detail = serde_json::json!({ "names": names });
            audit
                .admin(Admin {
                    actor: Peer {
                        uid: rustix::process::geteuid().as_raw(),
                        pid: std::process::id(),
                    },
                    action: "secret_import",
                    target: plain.as_os_str().as_encoded_bytes(),
                    pack: None,
                    component: None,
                    reason: None,
                    detail: Some(&detail),
                })
                .await?;
            if let Err(problem) = found.finish(plain, secrets) {
                tracing::error!(%problem, "the plain secrets could not be taken over");
            }
        }
        Err(problem) => tracing::error!(%problem, "the plain secrets could not be taken over"),
    }
    Ok(())
}

/// Nobody answers there any more, and whoever looks should see that.
fn remove_socket(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "the control socket stays behind");
    }
}

/// The guest beside this program, unless the command line names another.
fn guest(args: &Args) -> Result<PathBuf, DaemonError> {
    let path = match &args.guest {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .unwrap_or_default()
            .with_file_name("rumi-guest"),
    };
    std::fs::canonicalize(&path).map_err(|_| DaemonError::Guest { path })
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Ends commands that a broker before us left running, and their mounts.
async fn clean_sandboxes(broker: &Broker) {
    let mounts = broker.layout().mounts();
    match crate::container::clean_leftovers(broker.engine(), &mounts).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(
            count,
            "removed sandboxes that an earlier broker left behind"
        ),
        Err(error) => tracing::error!(%error, "cannot remove sandboxes of an earlier broker"),
    }
}

fn name_servers(config: &Config) -> NameServers {
    if config.network.resolvers.is_empty() {
        return NameServers::System;
    }
    let listed = config.network.resolvers.iter();
    NameServers::Listed(listed.map(|server| server.address()).collect())
}

pub(crate) async fn note_policy(
    broker: &Broker,
    set: &PolicySet,
) -> Result<(), rumi_audit::Unavailable> {
    let problems: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
    broker
        .audit()
        .policy(PolicyChange {
            hash: &set.hash().hex(),
            files: set.files().len(),
            problems: &problems,
        })
        .await
        .map(drop)
}

/// Tells systemd, where it asked to be told (sd_notify(3)).
fn notify_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

impl From<crate::config::Durability> for Durability {
    fn from(durability: crate::config::Durability) -> Self {
        match durability {
            crate::config::Durability::Process => Self::Process,
            crate::config::Durability::Power => Self::Power,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn memory_is_dumped_neither_into_a_file_nor_into_a_pipe() {
        super::forbid_dumps();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
