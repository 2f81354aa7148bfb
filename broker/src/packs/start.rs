//! Brings packs up and takes them down.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rumi_policy::{PackId, manifest::ComponentManifest};

use super::{
    Entry, Live, Pack, Packs, Phase, Word, limits,
    load::{LoadError, Source},
    staff,
};
use crate::{
    approval::{ApprovalError, Review, Started},
    caller::Identity,
    container::{
        BuildError, Built, CgroupError, ContainerCgroup, ContextError, EngineError, PackSpec,
        PackUids, Running, Tmp, UidError, WorkspaceError, build,
    },
    filesystem::{Asker, Mounted},
    server::{Listener, ListenerError},
    shares::PackShares,
    trust::BundleError,
    workers::{Pool, Program},
};

/// How long workers may take to attach.
const ATTACH: Duration = Duration::from_secs(20);
/// How long a container may take to end by itself; its init does nothing but exit.
const GRACE: Duration = Duration::from_secs(2);

/// Told while something takes its time.
pub type Progress<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Why a pack did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The pack is not valid.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The image could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Nobody approved the pack as it is.
    #[error("{}", if review.before.is_some() { "it is not what was approved" } else { "it was never approved" })]
    NotApproved {
        /// The pack.
        pack: PackId,
        /// What there is to know of it.
        review: Box<Review>,
    },
    /// The files are not those that somebody looked at.
    #[error(
        "the files of `{pack}` are not those that were shown; remedy: look again: packctl approve {pack} --show"
    )]
    NotShown {
        /// The pack.
        pack: PackId,
    },
    /// It cannot be told what was approved.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// What is about to be done cannot be recorded.
    #[error("the audit log cannot be written, so nothing is done: {0}")]
    Audit(#[from] rumi_audit::Unavailable),
    /// No uids.
    #[error(transparent)]
    Uids(#[from] UidError),
    /// No work area.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container's cgroup cannot be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A socket could not be made.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// A directory that the container sees could not be made.
    #[error("cannot make the directories of `{pack}` that its container sees")]
    Directory {
        /// The pack.
        pack: PackId,
        /// From the file system.
        source: std::io::Error,
    },
    /// What its programs should trust could not be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The container ended at once.
    #[error("the container of `{pack}` ended as soon as it was started; see: packctl doctor")]
    Ended {
        /// The pack.
        pack: PackId,
    },
    /// A tool's interpreter is missing, or too old.
    #[error("`{component}` cannot run: `{setting}` names `{interpreter}`: {message}")]
    Interpreter {
        /// Whose it is.
        component: rumi_policy::ComponentId,
        /// What names it.
        setting: &'static str,
        /// Its path inside the container.
        interpreter: String,
        /// What became of it.
        message: String,
    },
    /// The workers did not come.
    #[error("the workers of `{pack}` did not attach within {seconds} s; see: packctl logs {pack}")]
    NotAttached {
        /// The pack.
        pack: PackId,
        /// How long was waited.
        seconds: u64,
    },
}

impl StartError {
    /// What helps, where the message does not say it already.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotApproved { pack, review } => {
                format!("packctl approve {pack} --digest {}", review.digest)
            }
            Self::Load(_) => {
                "correct pack.json; docker/packs/pack.schema.json says what may stand there"
                    .to_owned()
            }
            Self::Interpreter { setting, .. } => format!(
                "let `{setting}` name Python 3.7 or later in the pack's image, or leave it out for the image's own"
            ),
            Self::Build(BuildError::Failed { .. }) => {
                "correct what the last lines name, then build the pack again".to_owned()
            }
            _ => String::new(),
        }
    }

    /// The last lines of a build that failed.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        match self {
            Self::Build(BuildError::Failed { output } | BuildError::Wheels { output }) => {
                output.lines().map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What `up` did.
#[derive(Debug)]
pub struct Up {
    /// The container that runs now.
    pub running: Running,
    /// False when it ran already, from the same content.
    pub changed: bool,
}

impl Packs {
    /// Builds a pack's image where its content has changed.
    ///
    /// # Errors
    /// When the pack is not valid or not approved, or the build fails.
    pub async fn build(
        &self,
        id: &PackId,
        word: Word,
        progress: Progress<'_>,
    ) -> Result<Built, StartError> {
        let entry = self.entry(id);
        let _turn = entry.turn.lock().await;
        let source = self.admitted(id, &entry, word, progress).await?;
        Ok(self.build_image(&source, progress).await?)
    }

    async fn build_image(
        &self,
        source: &Source,
        progress: Progress<'_>,
    ) -> Result<Built, BuildError> {
        let (config, state) = (self.broker.config(), self.broker.layout().state());
        let engine = self.broker.engine();
        build(engine, &source.blueprint, config, state, progress).await
    }

    /// Builds where needed, starts, and waits for the workers.
    ///
    /// # Errors
    /// When any step fails; what had been started is taken down again.
    pub async fn up(
        &self,
        id: &PackId,
        word: Word,
        progress: Progress<'_>,
    ) -> Result<Up, StartError> {
        let entry = self.entry(id);
        let _turn = entry.turn.lock().await;
        let source = self.admitted(id, &entry, word, progress).await?;
        let built = self.build_image(&source, progress).await?;
        if let Some(running) = entry.same(&built) {
            return Ok(Up {
                running,
                changed: false,
            });
        }
        self.stop(&entry).await?;
        entry.set(Phase::Starting, "");
        progress("starting");
        match self.start(&entry, &source, &built).await {
            Ok(running) => {
                entry.set(Phase::Running, "");
                Ok(Up {
                    running,
                    changed: true,
                })
            }
            Err(error) => {
                if let Err(stopping) = self.stop(&entry).await {
                    tracing::error!(pack = %id, %stopping, "cannot take down what did not come up");
                }
                entry.retire(Phase::Failed, error.to_string());
                Err(error)
            }
        }
    }

    async fn start(
        &self,
        entry: &Entry,
        source: &Source,
        built: &Built,
    ) -> Result<Running, StartError> {
        let broker = &self.broker;
        let pack = &source.pack;
        let manifest = &pack.manifest;
        let ids: Vec<_> = manifest.components.iter().map(|c| c.id.clone()).collect();
        let uids = broker.uids().assign(&manifest.id, &ids)?;
        let bytes = limits::workspace(manifest, broker.config());
        let workspace = broker
            .workspaces()
            .prepare(&manifest.id, uids.gid, bytes)
            .await?;
        let (pools, identities, listeners) = self.listen(pack, &uids)?;
        let askers = askers(&uids, &pools, &identities);
        if !manifest.id.is_reserved() {
            // Whoever adopts the container must not take its manifest from files that changed since.
            let started = Started {
                content: built.content.clone(),
                manifest: source.manifest.clone(),
            };
            broker.approvals().keep_started(&manifest.id, &started)?;
        }
        let running = broker
            .engine()
            .up(&PackSpec {
                pack: &manifest.id,
                image: &built.image,
                content: &built.content,
                components: &uids.components,
                gid: uids.gid,
                limits: limits::container(manifest, broker.config()),
                run_dir: &broker.layout().pack_run(&manifest.id),
                guest: broker.guest(),
                workspace: &workspace.path,
            })
            .await?;
        for identity in &identities {
            identity.enter(running.container.as_str());
        }
        let files = self.mount_files(&manifest.id, askers).await;
        entry.inner().live = Some(Live {
            pack: Arc::clone(pack),
            running: running.clone(),
            pools: pools.clone(),
            listeners,
            files,
        });
        self.staff(&running, &pools).await?;
        attached(&manifest.id, &pools).await?;
        interpreters_work(&pools).await?;
        Ok(running)
    }

    /// Binds the sockets before the container starts, so that no worker finds none.
    pub(super) fn listen(&self, pack: &Pack, uids: &PackUids) -> Result<Listening, StartError> {
        let broker = &self.broker;
        let mut pools = HashMap::new();
        let mut identities = Vec::new();
        let mut listeners = Vec::new();
        let shares = PackShares::new(broker.config(), uids.components.len());
        for user in &uids.components {
            let id = &user.component;
            let Some(component) = component(pack, id) else {
                continue;
            };
            let prepared = broker.layout().prepare_component(id);
            prepared.map_err(|source| StartError::Directory {
                pack: pack.manifest.id.clone(),
                source,
            })?;
            broker.bundles().write(id, &broker.policy().current().set)?;
            self.name_commands(id);
            let pool = Pool::new(pack.tool(component, broker.config())?);
            let identity = Identity::new(id.clone(), pack.manifest.base, shares.component());
            let identity = Arc::new(identity);
            listeners.push(Listener::serve(
                broker,
                &broker.layout().component_socket(id),
                user.uid,
                Arc::clone(&identity),
                Arc::clone(&pool),
            )?);
            identities.push(identity);
            pools.insert(id.clone(), pool);
        }
        let files = broker.layout().pack_files(&pack.manifest.id);
        crate::filesystem::prepare(&files).map_err(|source| StartError::Directory {
            pack: pack.manifest.id.clone(),
            source,
        })?;
        Ok((pools, identities, listeners))
    }

    /// Mounts /files; a pack whose host cannot do that runs without.
    pub(super) async fn mount_files(
        &self,
        pack: &PackId,
        askers: Vec<Arc<Asker>>,
    ) -> Option<Mounted> {
        let (broker, id) = (Arc::clone(&self.broker), pack.clone());
        let mounting =
            tokio::task::spawn_blocking(move || crate::filesystem::mount(&broker, &id, askers));
        match mounting.await {
            Ok(Ok(mounted)) => Some(mounted),
            Ok(Err(error)) => {
                tracing::error!(%pack, %error, "a pack runs without /files");
                None
            }
            Err(error) => {
                tracing::error!(%pack, %error, "a pack runs without /files");
                None
            }
        }
    }

    /// Gives the pools their container and starts the workers that init does not.
    pub(super) async fn staff(
        &self,
        running: &Running,
        pools: &HashMap<rumi_policy::ComponentId, Arc<Pool>>,
    ) -> Result<(), StartError> {
        let cgroup = cgroup_of(running)?;
        cgroup.prepare()?;
        let (cgroup, tmp) = (Arc::new(cgroup), tmp_of(running));
        for pool in pools.values() {
            pool.enter_container(Arc::clone(&cgroup), tmp.clone());
        }
        for user in running.components.iter().skip(1) {
            let engine = self.broker.engine();
            engine.exec_worker(running, &user.component).await?;
            if let Some(pool) = pools.get(&user.component) {
                staff::look_after(engine, running, &user.component, pool);
            }
        }
        Ok(())
    }

    /// Takes a pack down.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn down(&self, id: &PackId) -> Result<bool, StartError> {
        let entry = self.entry(id);
        let _turn = entry.turn.lock().await;
        let was = self.stop(&entry).await?;
        if let Err(error) = self.broker.workspaces().release(id) {
            tracing::warn!(pack = %id, %error, "the work area stays mounted");
        }
        if !self.broker.layout().packs_of(id).join(id.as_str()).is_dir() {
            self.forget(id, &entry);
        }
        Ok(was)
    }

    /// Reads a pack as it is now.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub async fn read(&self, id: &PackId) -> Result<Arc<Source>, StartError> {
        let (broker, id) = (Arc::clone(&self.broker), id.clone());
        let packs = broker.layout().packs_of(&id);
        let read = move || {
            let source = Source::read(&packs, &id, &broker.config().build)?;
            for component in &source.pack.manifest.components {
                source.pack.tool(component, broker.config())?;
            }
            Ok(source)
        };
        let whole = tokio::task::spawn_blocking(read).await;
        whole
            .unwrap_or_else(|error| Err(interrupted(error)))
            .map(Arc::new)
    }

    async fn stop(&self, entry: &Entry) -> Result<bool, StartError> {
        let container = entry
            .inner()
            .live
            .as_ref()
            .map(|live| live.running.container.clone());
        let Some(container) = container else {
            entry.retire(Phase::Stopped, "");
            return Ok(false);
        };
        // Retired first, so that the container's end is not taken for a failure.
        entry.retire(Phase::Stopped, "");
        self.broker.engine().down(&container, GRACE).await?;
        Ok(true)
    }
}

/// The components as the kernel names them.
pub(super) fn askers(
    uids: &PackUids,
    pools: &HashMap<rumi_policy::ComponentId, Arc<Pool>>,
    identities: &[Arc<Identity>],
) -> Vec<Arc<Asker>> {
    let asker = |identity: &Arc<Identity>| {
        let component = identity.component();
        let user = uids.components.iter().find(|u| u.component == *component)?;
        let pool = pools.get(component)?;
        Some(Asker::new(Arc::clone(identity), Arc::clone(pool), user.uid))
    };
    identities.iter().filter_map(asker).collect()
}

/// Pools, identities and sockets of one pack.
pub(super) type Listening = (
    HashMap<rumi_policy::ComponentId, Arc<Pool>>,
    Vec<Arc<Identity>>,
    Vec<Listener>,
);

impl Entry {
    /// The container that runs, if it runs what was just built.
    fn same(&self, built: &Built) -> Option<Running> {
        let inner = self.inner();
        let live = inner.live.as_ref()?;
        let same = inner.phase == Phase::Running && live.running.image == built.image;
        same.then(|| live.running.clone())
    }
}

/// Reading was not finished: the broker is ending.
pub(super) fn interrupted(error: tokio::task::JoinError) -> StartError {
    let source = ContextError::Read {
        path: "docker/packs".into(),
        source: std::io::Error::other(error),
    };
    BuildError::from(source).into()
}

fn component<'a>(pack: &'a Pack, id: &rumi_policy::ComponentId) -> Option<&'a ComponentManifest> {
    pack.manifest.components.iter().find(|c| c.id == *id)
}

/// Its /tmp, where that can be looked at from here.
pub(super) fn tmp_of(running: &Running) -> Option<Arc<Tmp>> {
    running.pid().and_then(Tmp::of_init).map(Arc::new)
}

/// The cgroup of a container whose PID 1 lives.
pub(super) fn cgroup_of(running: &Running) -> Result<ContainerCgroup, StartError> {
    let pid = running.pid().ok_or_else(|| StartError::Ended {
        pack: running.pack.clone(),
    })?;
    Ok(ContainerCgroup::of_init(pid)?)
}

/// An interpreter that somebody named may be missing or too old, which is better heard now than
/// from the first call.
async fn interpreters_work(
    pools: &HashMap<rumi_policy::ComponentId, Arc<Pool>>,
) -> Result<(), StartError> {
    for pool in pools.values().filter(|pool| !pool.spec().service) {
        let Program::Python {
            interpreter,
            named_by: Some(setting),
        } = &pool.spec().program
        else {
            continue;
        };
        // One that says nothing for so long is left to the calls, which say it again.
        if let Ok(Err(message)) = tokio::time::timeout(ATTACH, pool.first_spare()).await {
            return Err(StartError::Interpreter {
                component: pool.component().clone(),
                setting,
                interpreter: interpreter.clone(),
                message,
            });
        }
    }
    Ok(())
}

async fn attached(
    pack: &PackId,
    pools: &HashMap<rumi_policy::ComponentId, Arc<Pool>>,
) -> Result<(), StartError> {
    let deadline = Instant::now() + ATTACH;
    for pool in pools.values() {
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, pool.wait_attached())
            .await
            .map_err(|_| StartError::NotAttached {
                pack: pack.clone(),
                seconds: ATTACH.as_secs(),
            })?;
    }
    Ok(())
}
