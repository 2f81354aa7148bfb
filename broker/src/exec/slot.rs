//! One container for ad-hoc code, with an identity that no other run ever has.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use rumi_policy::ComponentId;

use super::{
    check::Checker,
    frame::{self, FrameError},
    image::{CodeImage, CodeImageError},
    places::Place,
    program::{Program, fits_ahead, starts_ahead},
    request::Order,
};
use crate::{
    broker::Broker,
    caller::Identity,
    container::{
        CgroupError, CodeContainer, CodeSpec, ContainerCgroup, EngineError, PackLimits, UidError,
    },
    server::{Listener, ListenerError},
    shares::PackShares,
    vetting::Language,
    workers::{self, Keeper, NoKeeper, Pool, ToolSpec},
};

/// How long a container may take until a process of it waits for code.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
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
    /// What was said to its guest.
    #[error("the process for the code cannot be spoken with: {0}")]
    Frame(#[from] FrameError),
    /// The broker ends.
    #[error("the broker is stopping; remedy: try again when it is up")]
    Stopping,
    /// What it sees of the host.
    #[error("cannot make the directory of a run")]
    Directory(#[source] io::Error),
    /// The table of users is for components that have names.
    #[error("a run has no name")]
    Name,
}

/// What is left to remove of a container, in this order.
#[derive(Debug)]
struct Remains {
    broker: Arc<Broker>,
    component: ComponentId,
    container: Option<CodeContainer>,
    directory: PathBuf,
    /// Given back last: until then the old container may still have processes of this user.
    place: Place,
}

impl Remains {
    async fn remove(self) {
        if let Some(container) = &self.container
            && let Err(error) = self.broker.engine().end_code(container).await
        {
            tracing::warn!(container = %container.id, %error, "a container of ad-hoc code is left; the next start removes it");
            // Nobody else may have its user.
            return self.place.lose();
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

/// A process that waits for a run.
#[derive(Debug)]
struct Waiting {
    keeper: Keeper,
    /// What it has started already, for a run that needs exactly this.
    ahead: Option<Program>,
}

/// For what a container is prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// What runs in it.
    pub(super) image: &'a CodeImage,
    /// What the code is most likely written in.
    pub(super) language: Language,
}

/// A container and all that belongs to it; dropped, it is removed.
#[derive(Debug)]
pub(super) struct Slot {
    component: ComponentId,
    pool: Arc<Pool>,
    identity: Arc<Identity>,
    listener: Option<Listener>,
    cgroup: Option<Arc<ContainerCgroup>>,
    waiting: Option<Waiting>,
    checker: Option<Checker>,
    remains: Option<Remains>,
}

impl Waiting {
    /// Has the interpreter started that the code most likely needs.
    async fn start_ahead(
        &mut self,
        component: &ComponentId,
        expected: Expected<'_>,
    ) -> Result<(), FrameError> {
        let Expected { image, language } = expected;
        if starts_ahead(language) && image.lacks(language).is_none() {
            let program = Program::new(language, component, image.venv, false);
            frame::ahead(self.keeper.parts().0, &program).await?;
            self.ahead = Some(program);
        }
        Ok(())
    }
}

impl Slot {
    /// Makes one, up to a process that waits for code.
    pub(super) async fn make(
        broker: &Arc<Broker>,
        expected: Expected<'_>,
        component: ComponentId,
        place: Place,
    ) -> Result<Self, SlotError> {
        let directory = broker.layout().pack_run(&component.pack());
        // Of the place and not of the run, so that users are not used up.
        let user = ComponentId::of_code_place(place.number());
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
            checker: None,
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
                image: &expected.image.id,
                uid,
                gid: uids.gid,
                limits: limits(broker),
                run_dir: &directory,
                guest: broker.guest(),
            })
            .await?;
        slot.staff(container, expected).await?;
        Ok(slot)
    }

    async fn staff(
        &mut self,
        container: CodeContainer,
        expected: Expected<'_>,
    ) -> Result<(), SlotError> {
        self.identity.enter(container.id.as_str());
        let pid = container.pid;
        if let Some(remains) = &mut self.remains {
            remains.container = Some(container);
        }
        let cgroup = ContainerCgroup::of_init(pid)?;
        cgroup.prepare()?;
        let cgroup = Arc::new(cgroup);
        self.pool.enter_container(Arc::clone(&cgroup), None);
        self.cgroup = Some(cgroup);
        let checked = self.is_checked();
        let checker = async {
            if !checked {
                return Ok(None);
            }
            Checker::start(&self.pool, expected.language)
                .await
                .map(Some)
        };
        let (keeper, checker) = tokio::join!(self.pool.keeper(PATIENCE), checker);
        let mut waiting = Waiting {
            keeper: keeper?,
            ahead: None,
        };
        waiting.start_ahead(&self.component, expected).await?;
        self.waiting = Some(waiting);
        // Without it code can still be checked, by one that is started then, or be refused with its reason.
        self.checker = checker
            .inspect_err(|error| tracing::warn!(%error, "a checker could not be started ahead"))
            .unwrap_or_default();
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
            .map_or("", |container| container.id.as_str())
    }

    /// Whether its process still waits.
    pub(super) fn alive(&mut self) -> bool {
        let waiting = self.waiting.as_mut();
        waiting.is_some_and(|waiting| waiting.keeper.alive())
    }

    /// The process that waits, or another where that one was used.
    pub(super) async fn keeper(&mut self) -> Result<Keeper, SlotError> {
        match self.waiting.take() {
            Some(waiting) => Ok(waiting.keeper),
            None => Ok(self.pool.keeper(PATIENCE).await?),
        }
    }

    /// The same for a program, and whether it has been started already.
    pub(super) async fn keeper_for(
        &mut self,
        program: &Program,
        order: &Order,
    ) -> Result<(Keeper, bool), SlotError> {
        let waiting = self.waiting.as_ref();
        let same = waiting.is_some_and(|waiting| waiting.ahead.as_ref() == Some(program));
        let ahead = same && fits_ahead(order.language.language, &order.code);
        Ok((self.keeper().await?, ahead))
    }

    /// The checker that waits.
    pub(super) fn take_checker(&mut self) -> Option<Checker> {
        self.checker.take()
    }

    fn is_checked(&self) -> bool {
        let remains = self.remains.as_ref();
        remains.is_some_and(|remains| remains.broker.config().exec.validation.enabled)
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
        program: workers::Program::Python {
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
