//! The spares of one component: asked for ahead of need, handed out one a call.

use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, Read as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rumi_policy::ComponentId;
use rumi_proto::v1::{self, worker_command::Command};
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use super::{
    attach::command,
    ending::{Beginnings, Endings},
    spare::Spare,
    spec::{Program, ToolSpec},
};
use crate::{
    caller::{Behalf, CallSlot, Running},
    container::{CALL_PREFIX, CallCgroup, ContainerCgroup, Tmp},
};

/// After this long an ordered spare is taken for lost and ordered again.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// The control groups of a process. The buffer takes all of it at once: the kernel does not say how long it is.
fn groups_of(pid: u32) -> io::Result<String> {
    let mut groups = String::with_capacity(2_048);
    File::open(format!("/proc/{pid}/cgroup"))?.read_to_string(&mut groups)?;
    Ok(groups)
}

/// A component's pool.
#[derive(Debug)]
pub struct Pool {
    pub(super) me: Weak<Self>,
    pub(super) spec: ToolSpec,
    pub(super) cgroup: RwLock<Option<Arc<ContainerCgroup>>>,
    pub(super) tmp: RwLock<Option<Arc<Tmp>>>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Notify,
    pub(super) next: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) running: Arc<Running>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) worker: Option<Worker>,
    pub(super) ready: VecDeque<Spare>,
    pub(super) ordered: VecDeque<Instant>,
    /// Spares that have come and are loading their tool.
    pub(super) loading: usize,
    /// Calls that wait for a spare.
    pub(super) waiting: usize,
    pub(super) slots: HashMap<String, Weak<CallSlot>>,
    pub(super) running: Beginnings,
    pub(super) endings: Endings,
    /// Groups that calls left empty, for spares that come.
    pub(super) groups: Vec<CallCgroup>,
    pub(super) wiping: Option<u64>,
    /// A wipe that goes on beside calls.
    pub(super) sweeping: Option<u64>,
    pub(super) failures: u32,
    pub(super) last_failure: Option<String>,
    pub(super) service: Option<v1::ServiceState>,
}

#[derive(Debug)]
pub(super) struct Worker {
    number: u64,
    commands: mpsc::Sender<Result<v1::WorkerCommand, Status>>,
}

/// For `packctl ps`.
#[derive(Debug, Clone)]
pub struct PoolStatus {
    /// A worker is attached.
    pub attached: bool,
    /// Spares that wait.
    pub spares: usize,
    /// Calls served since the broker started.
    pub calls: u64,
    /// Why the tool does not load, where a process that waits could not load it.
    pub broken: Option<String>,
    /// How the program of a service is.
    pub service: Option<v1::ServiceState>,
}

/// Where a peer lives.
#[derive(Debug)]
pub enum Place {
    /// In a call, or in what is left of one.
    Call(Option<Arc<CallSlot>>),
    /// Outside of all calls, as workers do, and spares before they are let in.
    Staff,
    /// It has ended, or nothing can be said.
    Unknown,
}

impl State {
    /// Tells the worker; false where there is none, or it does not read what it is told.
    pub(super) fn tell(&self, what: Command) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| worker.commands.try_send(Ok(command(what))).is_ok())
    }
}

/// Held as long as a worker's stream is open.
#[derive(Debug)]
pub(super) struct Attachment {
    pool: Arc<Pool>,
    number: u64,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if state
            .worker
            .as_ref()
            .is_some_and(|w| w.number == self.number)
        {
            state.worker = None;
            state.service = None;
            state.ordered.clear();
        }
        drop(state);
        self.pool.changed.notify_waiters();
    }
}

impl Pool {
    /// An empty pool, to which a worker may attach.
    #[must_use]
    pub fn new(spec: ToolSpec) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            spec,
            cgroup: RwLock::default(),
            tmp: RwLock::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            next: AtomicU64::new(1),
            calls: AtomicU64::new(0),
            running: Arc::default(),
        })
    }

    /// Whose pool this is.
    #[must_use]
    pub fn component(&self) -> &ComponentId {
        &self.spec.component
    }

    /// What the tool is.
    #[must_use]
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// For whom a peer speaks who lives there.
    #[must_use]
    pub fn behalf_of(&self, place: Place) -> Behalf {
        match place {
            Place::Call(Some(call)) => Behalf::Call(call),
            Place::Staff => Behalf::Component(Arc::clone(&self.running)),
            Place::Call(None) | Place::Unknown => Behalf::Nobody,
        }
    }

    /// Tells the pool in which container its spares must be, and where its calls leave files.
    pub fn enter_container(&self, cgroup: Arc<ContainerCgroup>, tmp: Option<Arc<Tmp>>) {
        *self.tmp.write().unwrap_or_else(PoisonError::into_inner) = tmp;
        *self.cgroup.write().unwrap_or_else(PoisonError::into_inner) = Some(cgroup);
        self.order();
    }

    /// State for `ps`.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let state = self.state();
        PoolStatus {
            attached: state.worker.is_some(),
            spares: state.ready.len(),
            calls: self.calls.load(Ordering::Relaxed),
            broken: state
                .ready
                .iter()
                .find_map(Spare::broken)
                .map(ToString::to_string),
            service: state.service.clone(),
        }
    }

    /// Resolves when a worker is attached.
    pub async fn wait_attached(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().worker.is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Resolves when the first spare is there, or could not be made.
    ///
    /// # Errors
    /// Why it could not be made.
    pub async fn first_spare(&self) -> Result<(), String> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                if let Some(message) = &state.last_failure {
                    return Err(message.clone());
                }
                if !state.ready.is_empty() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Resolves when no worker is attached, or the container is gone.
    pub async fn wait_detached(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().worker.is_none() || !self.in_container() {
                return;
            }
            changed.await;
        }
    }

    /// Whether the pool has a container.
    #[must_use]
    pub fn in_container(&self) -> bool {
        self.cgroup
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Whether the groups lie in the container that the pool has now.
    pub(super) fn is_container_of(&self, cgroup: &CallCgroup) -> bool {
        let container = self.cgroup.read().unwrap_or_else(PoisonError::into_inner);
        container
            .as_deref()
            .is_some_and(|container| cgroup.lies_in(container))
    }

    /// Where a process lives, by what the kernel says of the process.
    #[must_use]
    pub fn place_of(&self, pid: u32) -> Place {
        let Ok(groups) = groups_of(pid) else {
            return Place::Unknown;
        };
        let name = groups
            .split(['/', '\n'])
            .find_map(|part| part.strip_prefix(CALL_PREFIX));
        if let Some(name) = name {
            return Place::Call(self.state().slots.get(name).and_then(Weak::upgrade));
        }
        // A process that is ending has left its groups, as far as they are of version 1.
        let left = groups
            .lines()
            .all(|line| line.ends_with(":/") || line.is_empty());
        if left { Place::Unknown } else { Place::Staff }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends one request; the state behind the lock is counted, never half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn configure(&self) -> v1::Configure {
        let spec = &self.spec;
        let (runner, interpreter, command) = match &spec.program {
            Program::Python { interpreter, .. } => ("python", interpreter.clone(), Vec::new()),
            Program::Command { argv, .. } => ("command", String::new(), argv.clone()),
        };
        v1::Configure {
            component_id: spec.component.to_string(),
            runner: runner.to_owned(),
            interpreter,
            entry: spec.entry.clone(),
            command,
            working_dir: spec.working_dir.clone().unwrap_or_default(),
            env: spec.env.iter().cloned().collect(),
        }
    }

    pub(super) fn attached(
        self: &Arc<Self>,
        commands: mpsc::Sender<Result<v1::WorkerCommand, Status>>,
        guest: &str,
    ) -> Attachment {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let shown: String = guest.chars().take(100).collect();
        tracing::info!(component = %self.spec.component, guest = %shown.escape_default(), "worker attached");
        {
            let mut state = self.state();
            state.worker = Some(Worker { number, commands });
            state.ordered.clear();
            state.sweeping = None;
            if state.wiping.is_some() {
                // What the worker before it was told, or should have been, and never confirmed.
                self.wipe(&mut state);
            }
        }
        self.order();
        self.changed.notify_waiters();
        Attachment {
            pool: Arc::clone(self),
            number,
        }
    }

    /// Orders as many spares as are missing.
    pub(super) fn order(&self) {
        let has_cgroup = self.in_container();
        let mut state = self.state();
        while state
            .ordered
            .front()
            .is_some_and(|at| at.elapsed() > LOST_AFTER)
        {
            state.ordered.pop_front();
        }
        if !has_cgroup {
            return;
        }
        // A spare that is long in loading holds descriptors and groups of the broker: it counts.
        let wanted = self.spec.spares.saturating_add(state.waiting);
        while state.ready.len() + state.ordered.len() + state.loading < wanted {
            if !state.tell(Command::MakeSpare(v1::MakeSpare {})) {
                return;
            }
            state.ordered.push_back(Instant::now());
        }
    }

    /// How the program of the service is, as its worker says.
    pub(super) fn service_changed(&self, mut state: v1::ServiceState) {
        state.ended = state.ended.chars().take(200).collect();
        self.state().service = Some(state).filter(|_| self.spec.service);
    }

    pub(super) fn printed(&self, line: &str) {
        // What a service prints has no bounds; the engine keeps the newest of it.
        if self.spec.service {
            return;
        }
        let shown: String = line.chars().take(2000).collect();
        tracing::info!(component = %self.spec.component, line = %shown.escape_default(), "runner output");
    }

    /// Drops all spares, because their container is gone.
    pub fn leave_container(&self) {
        *self.cgroup.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.tmp.write().unwrap_or_else(PoisonError::into_inner) = None;
        let mut state = self.state();
        let gone: Vec<Spare> = state.ready.drain(..).collect();
        let groups = std::mem::take(&mut state.groups);
        state.ordered.clear();
        state.wiping = None;
        drop(state);
        drop((gone, groups));
        self.changed.notify_waiters();
    }
}
