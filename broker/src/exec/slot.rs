//! One container for ad-hoc code, with an identity that no other run ever has.

use std::{
    collections::BTreeSet,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rumi_policy::ComponentId;

use super::image::CodeImageError;
use crate::{
    broker::Broker,
    caller::Identity,
    container::{
        CgroupError, CodeContainer, CodeSpec, ContainerCgroup, ContainerId, EngineError, ImageId,
        PackLimits, UidError,
    },
    server::{Listener, ListenerError},
    shares::PackShares,
    workers::{Keeper, NoKeeper, Pool, Program, ToolSpec},
};

/// How long a container may take until a process of it waits for code.
const PATIENCE: Duration = Duration::from_secs(20);
/// Memory of the guest itself, beside that of the code.
const GUEST_MEMORY: u64 = 64 << 20;
/// Processes of the guest itself.
const GUEST_PIDS: u32 = 32;
/// The most memory that code may have.
const MOST_MEMORY: u64 = 1 << 30;

/// Why there is no container for the code.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The image.
    #[error(transparent)]
    Image(#[from] CodeImageError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its user.
    #[error(transparent)]
    Uids(#[from] UidError),
    /// Its socket.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// Its control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its guest.
    #[error(transparent)]
    Keeper(#[from] NoKeeper),
    /// What it sees of the host.
    #[error("cannot make the directory of a run")]
    Directory(#[source] io::Error),
    /// The table of users is for components that have names.
    #[error("a run has no name")]
    Name,
}

/// Users are few and come back: each belongs to one container at a time.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeSet<u32>>);

/// A place, for as long as a container has it.
#[derive(Debug)]
pub(super) struct Place {
    number: u32,
    all: Arc<Places>,
}

impl Places {
    pub(super) fn take(self: &Arc<Self>) -> Place {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..u32::MAX)
            .find(|number| !taken.contains(number))
            .unwrap_or_default();
        taken.insert(number);
        Place {
            number,
            all: Arc::clone(self),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.number);
    }
}

/// What is left to remove of a container, in this order.
#[derive(Debug)]
struct Remains {
    broker: Arc<Broker>,
    component: ComponentId,
    container: Option<ContainerId>,
    directory: PathBuf,
    /// Given back last: until then the old container may still have processes of this user.
    place: Place,
}

impl Remains {
    async fn remove(self) {
        if let Some(container) = &self.container
            && let Err(error) = self.broker.engine().remove(container).await
        {
            tracing::warn!(%container, %error, "a container of ad-hoc code is left; the next start removes it");
            // Nobody else may have its user.
            return std::mem::forget(self.place);
        }
        // Counts and accounts of an identity that never comes back.
        let layout = self.broker.layout();
        for file in [
            layout.quota().join(format!("{}.jsonl", self.component)),
            layout.usage().join(format!("{}.json", self.component)),
        ] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %file.display(), %error, "a file of a run is left");
                }
                _ => {}
            }
        }
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.directory.display(), %error, "the directory of a run is left");
            }
            _ => {}
        }
    }
}

/// A container and all that belongs to it; dropped, it is removed.
#[derive(Debug)]
pub(super) struct Slot {
    component: ComponentId,
    pool: Arc<Pool>,
    identity: Arc<Identity>,
    listener: Option<Listener>,
    cgroup: Option<Arc<ContainerCgroup>>,
    waiting: Option<Keeper>,
    remains: Option<Remains>,
}

impl Slot {
    /// Makes one, up to a process that waits for code.
    pub(super) async fn make(
        broker: &Arc<Broker>,
        image: &ImageId,
        component: ComponentId,
        place: Place,
    ) -> Result<Self, SlotError> {
        let directory = broker.layout().pack_run(&component.pack());
        // Of the place and not of the run, so that users are not used up.
        let user = ComponentId::of_code_place(place.number);
        let pool = Pool::new(spec(broker, &component));
        let base = rumi_policy::manifest::Base::default();
        let identity = Arc::new(Identity::new(
            component.clone(),
            base,
            PackShares::new(broker.config(), 1).component(),
        ));
        let mut slot = Self {
            pool,
            identity,
            listener: None,
            cgroup: None,
            waiting: None,
            remains: Some(Remains {
                broker: Arc::clone(broker),
                component: component.clone(),
                container: None,
                directory: directory.clone(),
                place,
            }),
            component,
        };
        // Whatever fails from here on, the drop of the slot removes what there is.
        let uids = broker
            .uids()
            .assign(&user.pack(), std::slice::from_ref(&user))?;
        let uid = uids.components.first().ok_or(SlotError::Name)?.uid;
        let prepared = broker.layout().prepare_component(&slot.component);
        prepared.map_err(SlotError::Directory)?;
        slot.listener = Some(Listener::serve(
            broker,
            &broker.layout().component_socket(&slot.component),
            uid,
            Arc::clone(&slot.identity),
            Arc::clone(&slot.pool),
        )?);
        let container = broker
            .engine()
            .start_code(&CodeSpec {
                component: &slot.component,
                image,
                uid,
                gid: uids.gid,
                limits: limits(broker),
                run_dir: &directory,
                guest: broker.guest(),
            })
            .await?;
        slot.staff(container).await?;
        Ok(slot)
    }

    async fn staff(&mut self, container: CodeContainer) -> Result<(), SlotError> {
        self.identity.enter(container.id.as_str());
        if let Some(remains) = &mut self.remains {
            remains.container = Some(container.id);
        }
        let cgroup = ContainerCgroup::of_init(container.pid)?;
        cgroup.prepare()?;
        let cgroup = Arc::new(cgroup);
        self.pool.enter_container(Arc::clone(&cgroup), None);
        self.cgroup = Some(cgroup);
        self.waiting = Some(self.pool.keeper(PATIENCE).await?);
        Ok(())
    }

    /// Whose rights the code has.
    pub(super) fn component(&self) -> &ComponentId {
        &self.component
    }

    /// Who asks, when something is asked for the run.
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whom requests are attributed to.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The engine's identifier.
    pub(super) fn container(&self) -> &str {
        let remains = self.remains.as_ref();
        remains
            .and_then(|remains| remains.container.as_ref())
            .map_or("", ContainerId::as_str)
    }

    /// Whether its process still waits.
    pub(super) fn alive(&mut self) -> bool {
        self.waiting.as_mut().is_some_and(Keeper::alive)
    }

    /// The process that waits, or another where that one was used.
    pub(super) async fn keeper(&mut self) -> Result<Keeper, SlotError> {
        match self.waiting.take() {
            Some(keeper) => Ok(keeper),
            None => Ok(self.pool.keeper(PATIENCE).await?),
        }
    }

    /// A process beside the one that waits.
    pub(super) async fn another_keeper(&mut self) -> Result<Keeper, NoKeeper> {
        self.pool.keeper(PATIENCE).await
    }

    /// Processor time that the container has used, guest and code together.
    pub(super) fn cpu_time(&self) -> Duration {
        let usage = self.cgroup.as_ref().and_then(|cgroup| cgroup.usage().ok());
        Duration::from_micros(usage.and_then(|usage| usage.cpu_usec).unwrap_or(0))
    }

    /// Removes it and waits until it is gone.
    pub(super) async fn retire(mut self) {
        if let Some(remains) = self.leave() {
            remains.remove().await;
        }
    }

    fn leave(&mut self) -> Option<Remains> {
        self.listener = None;
        self.pool.leave_container();
        self.remains.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Outside of a runtime, which is at shutdown, the next start removes it.
        if let Some(remains) = self.leave()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(remains.remove());
        }
    }
}

fn limits(broker: &Broker) -> PackLimits {
    let settings = &broker.config().exec;
    PackLimits {
        memory_bytes: MOST_MEMORY + GUEST_MEMORY,
        nano_cpus: settings.cpus.nanos(),
        pids: settings.pids.get().saturating_add(GUEST_PIDS),
        tmp_bytes: settings.tmp_size.bytes(),
    }
}

/// Nothing is called in it; its pool is there for the worker and for processes that keep runs.
fn spec(broker: &Broker, component: &ComponentId) -> ToolSpec {
    let settings = &broker.config().exec;
    ToolSpec {
        component: component.clone(),
        program: Program::Python {
            interpreter: String::new(),
            named_by: None,
        },
        entry: String::new(),
        working_dir: None,
        env: Vec::new(),
        timeout: PATIENCE,
        memory_bytes: MOST_MEMORY,
        pids: u64::from(settings.pids.get()),
        output_bytes: 0,
        spares: 0,
        service: false,
    }
}
