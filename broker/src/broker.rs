//! The parts that all requests share.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rumi_audit::Log;
use rumi_policy::{Cidr, manifest::Base};
use tokio::runtime::Handle;

use crate::{
    approval::Approvals,
    command::{Outcome, Registry, Stopped, Worker},
    config::Config,
    container::{
        Engine, EngineError, ImageId, Places, ProgramIndex, Programs, SandboxSpec, Uids, Workspaces,
    },
    custom::Handlers,
    executions::Executions,
    filesystem::Guard,
    layout::Layout,
    outbound::{Resolver, Tls},
    pending::Pending,
    policy_store::PolicyStore,
    quota::Quotas,
    secrets::{Store, Values},
    trust::Bundles,
    usage::Usages,
};

/// What start-up puts together, and nothing changes afterwards.
#[derive(Debug)]
pub struct Parts {
    /// Where things lie.
    pub layout: Layout,
    /// docker/config.json.
    pub config: Config,
    /// The audit log, open and recovered.
    pub audit: Log,
    /// Scopes and grants.
    pub policy: Arc<PolicyStore>,
    /// Secret values.
    pub secrets: Arc<Store>,
    /// Sources of `env_read`.
    pub values: Values,
    /// Looks up names for `network`.
    pub resolver: Resolver,
    /// Encrypts for `network`.
    pub tls: Tls,
    /// Whom the components' programs are told to trust.
    pub bundles: Bundles,
    /// What components have made.
    pub quotas: Arc<Quotas>,
    /// How often grants were used.
    pub usages: Usages,
    /// The Docker engine.
    pub engine: Engine,
    /// What images have on their PATH.
    pub programs: Programs,
    /// Which packs may be started.
    pub approvals: Approvals,
    /// Components' uids, for ever the same.
    pub uids: Uids,
    /// Packs' work areas.
    pub workspaces: Workspaces,
    /// The static guest binary.
    pub guest: PathBuf,
    /// The record of executions.
    pub executions: Executions,
    /// Serves the components' sockets.
    pub requests: Handle,
    /// Serves all else.
    pub background: Handle,
    /// Serves what the files of packs have to wait for.
    pub files: Handle,
    /// Lets the files of packs go when this process hangs.
    pub files_guard: Arc<Guard>,
}

/// Why an image that packs stand on cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseImageError {
    /// It was not built yet.
    #[error("there is no image `{0}`; remedy: {1}")]
    Missing(&'static str, &'static str),
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Made once at start-up.
#[derive(Debug)]
pub struct Broker {
    parts: Parts,
    handlers: OnceLock<Arc<Handlers>>,
    counters: Counters,
    commands: Registry,
    pending: Pending,
}

/// What was dropped, counted so that it can be shown.
#[derive(Debug, Default)]
pub struct Counters {
    connections_refused: AtomicU64,
}

impl Counters {
    /// One connection more than a pack may hold.
    pub fn connections_refused(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }
    /// How many were refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }
}

impl Broker {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            pending: Pending::new(parts.config.approvals.clone()),
            parts,
            handlers: OnceLock::new(),
            counters: Counters::default(),
            commands: Registry::default(),
        })
    }
    /// Custom handlers; none while the broker starts.
    #[must_use]
    pub fn handlers(&self) -> Option<&Arc<Handlers>> {
        self.handlers.get()
    }
    /// Says where custom handlers are found, once.
    pub fn have_handlers(&self, handlers: Arc<Handlers>) {
        self.handlers.get_or_init(|| handlers);
    }
    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }
    /// Limits and settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.parts.config
    }
    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Log {
        &self.parts.audit
    }
    /// Scopes and grants.
    #[must_use]
    pub fn policy(&self) -> &Arc<PolicyStore> {
        &self.parts.policy
    }
    /// Secret values.
    #[must_use]
    pub fn secrets(&self) -> &Arc<Store> {
        &self.parts.secrets
    }
    /// Sources of `env_read`.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.parts.values
    }
    /// Looks up names for `network`.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.parts.resolver
    }
    /// Encrypts for `network`.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.parts.tls
    }
    /// Whom the components' programs are told to trust.
    #[must_use]
    pub fn bundles(&self) -> &Bundles {
        &self.parts.bundles
    }
    /// What components have made, and may still make.
    #[must_use]
    pub fn quotas(&self) -> &Arc<Quotas> {
        &self.parts.quotas
    }
    /// How often grants were used, and may still be.
    #[must_use]
    pub fn usages(&self) -> &Usages {
        &self.parts.usages
    }
    /// The Docker engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }
    /// Which packs may be started.
    #[must_use]
    pub fn approvals(&self) -> &Approvals {
        &self.parts.approvals
    }
    /// Components' uids.
    #[must_use]
    pub fn uids(&self) -> &Uids {
        &self.parts.uids
    }
    /// Packs' work areas.
    #[must_use]
    pub fn workspaces(&self) -> &Workspaces {
        &self.parts.workspaces
    }
    /// The static guest binary.
    #[must_use]
    pub fn guest(&self) -> &Path {
        &self.parts.guest
    }
    /// The record of executions.
    #[must_use]
    pub fn executions(&self) -> &Executions {
        &self.parts.executions
    }
    /// Address ranges that are allowed in spite of the table.
    #[must_use]
    pub fn exceptions(&self) -> &[Cidr] {
        &self.parts.config.network.allowed_ranges
    }
    /// The runtime that serves the components' sockets.
    #[must_use]
    pub fn requests_runtime(&self) -> &Handle {
        &self.parts.requests
    }
    /// The runtime of all that may take its time.
    #[must_use]
    pub fn background(&self) -> &Handle {
        &self.parts.background
    }
    /// The runtime of what the files of packs have to wait for.
    #[must_use]
    pub fn files_runtime(&self) -> &Handle {
        &self.parts.files
    }
    /// Lets the files of packs go when this process hangs.
    #[must_use]
    pub(crate) fn files_guard(&self) -> &Guard {
        &self.parts.files_guard
    }
    /// Counts of what was dropped.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The image of this name that packs stand on.
    ///
    /// # Errors
    /// When it is not there or the engine does not answer.
    pub async fn base_image(&self, base: Base) -> Result<ImageId, BaseImageError> {
        let remedy = match base {
            Base::Base => "make base",
            Base::Tools => "docker/base/build tools",
            Base::Node => "docker/base/build node",
        };
        self.engine()
            .image_id(base.image())
            .await?
            .ok_or(BaseImageError::Missing(base.image(), remedy))
    }

    /// The image that commands of a pack on this base run in, and what it has on its PATH. Not the
    /// pack's own image: there the pack itself says what `git` is.
    ///
    /// # Errors
    /// When the image is missing or cannot be looked into.
    pub async fn sandbox_programs(
        &self,
        base: Base,
    ) -> Result<(ImageId, Arc<ProgramIndex>), BaseImageError> {
        let image = self.base_image(base).await?;
        let programs = self
            .parts
            .programs
            .of(self.engine(), &image, self.guest())
            .await?;
        Ok((image, programs))
    }

    /// The commands that run now.
    #[must_use]
    pub fn commands(&self) -> &Registry {
        &self.commands
    }

    /// Requests that wait for the admin's answer.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Runs one command in a sandbox of its own, until it ends or `ending` says why it must.
    ///
    /// # Errors
    /// When the engine cannot.
    pub async fn run_sandbox(
        &self,
        spec: SandboxSpec,
        worker: Worker,
        ending: impl Future<Output = Stopped> + Send,
    ) -> Result<Outcome, EngineError> {
        let mounts = self.layout().mounts();
        let places = Places {
            mounts: &mounts,
            guest: self.guest(),
        };
        crate::container::run(self.engine(), spec, &places, worker, ending).await
    }
}
