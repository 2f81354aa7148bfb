//! Containers of ad-hoc code: made before anybody needs them, used once, removed.

use std::{collections::HashMap, path::Path, time::Duration};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;
use rumi_policy::ComponentId;

use super::{
    apart,
    cgroup::HeldProcess,
    engine::{ContainerId, Engine, ImageId},
    error::EngineError,
    hardening::{Access, GUEST, Logging, bind, host_config, no_healthcheck, tmp_options},
    labels::{self, PackLimits},
    surroundings::{environment, with_ports},
};

/// How long the engine may take to notice that a container has ended.
const ENDING: Duration = Duration::from_secs(5);

/// All that is needed to make one.
#[derive(Debug)]
pub struct CodeSpec<'a> {
    /// The identity that the code will have.
    pub component: &'a ComponentId,
    /// What it has to run.
    pub image: &'a ImageId,
    /// Its user and group, on the host and in the container alike.
    pub uid: u32,
    /// See there.
    pub gid: u32,
    /// What it may use at the most.
    pub limits: PackLimits,
    /// Host directory of its socket, on a shared mount.
    pub run_dir: &'a Path,
    /// The guest's binary on the host.
    pub guest: &'a Path,
}

/// A container that runs.
#[derive(Debug)]
pub struct CodeContainer {
    /// The engine's identifier.
    pub id: ContainerId,
    /// The host's pid of its PID 1.
    pub pid: i32,
    init: HeldProcess,
}

impl Engine {
    /// Makes and starts one. It has no volume of the host's: its working directory is memory, which counts as
    /// the memory of whoever writes there.
    ///
    /// # Errors
    /// When the engine refuses; nothing is left behind then.
    pub async fn start_code(&self, spec: &CodeSpec<'_>) -> Result<CodeContainer, EngineError> {
        let pack = spec.component.pack();
        let name = format!("rumi-{}-{pack}", self.instance().as_str());
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self
            .docker()
            .create_container(Some(options), body(self, spec)?)
            .await;
        let created = created.map_err(EngineError::call(
            "create a container for code from",
            spec.image.as_str(),
        ))?;
        let id = ContainerId::new(&created.id);
        match self.begin(&id).await {
            Ok((pid, init)) => Ok(CodeContainer { id, pid, init }),
            Err(error) => {
                self.remove(&id).await?;
                Err(error)
            }
        }
    }

    /// Ends one and removes it. Its PID 1 is killed from here, for the engine starts a program each time it kills.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn end_code(&self, container: &CodeContainer) -> Result<(), EngineError> {
        container.init.kill();
        let id = container.id.as_str();
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let mut waits = Box::pin(self.docker().wait_container(id, Some(options)));
        // How it ended, and whether that could be told, is all the same: what lives is removed by force.
        drop(tokio::time::timeout(ENDING, waits.next()).await);
        self.remove(&container.id).await
    }

    async fn begin(&self, id: &ContainerId) -> Result<(i32, HeldProcess), EngineError> {
        let started = self.docker().start_container(id.as_str(), None).await;
        started.map_err(EngineError::call("start", id.as_str()))?;
        let found = self.docker().inspect_container(id.as_str(), None).await;
        let found = found.map_err(EngineError::call("inspect", id.as_str()))?;
        let runtime = found.host_config.and_then(|host| host.runtime);
        let runtime = runtime.unwrap_or_default();
        // Never under another one than was named.
        if runtime != self.runtime() {
            return Err(EngineError::OtherRuntime {
                container: id.to_string(),
                found: runtime,
                wanted: self.runtime().to_owned(),
            });
        }
        let pid = found
            .state
            .and_then(|state| state.pid)
            .and_then(|pid| i32::try_from(pid).ok())
            .filter(|pid| *pid > 0)
            .ok_or_else(|| EngineError::Incomplete {
                subject: id.to_string(),
                field: "process",
            })?;
        let container = id.to_string();
        let held = HeldProcess::open(pid).map_err(|_| EngineError::Incomplete {
            subject: container.clone(),
            field: "process that lives",
        })?;
        match apart::is_alone(pid) {
            Ok(true) => Ok((pid, held)),
            Ok(false) => Err(EngineError::Networked { container }),
            Err(source) => Err(EngineError::Network { container, source }),
        }
    }
}

fn body(engine: &Engine, spec: &CodeSpec<'_>) -> Result<ContainerCreateBody, EngineError> {
    let labels = HashMap::from([
        (
            labels::INSTANCE.to_owned(),
            engine.instance().as_str().to_owned(),
        ),
        (labels::KIND.to_owned(), labels::KIND_CODE.to_owned()),
    ]);
    let mut mounts = vec![
        bind(spec.run_dir, "/run/rumi", Access::ReadOnlyFollowing)?,
        bind(spec.guest, GUEST, Access::ReadOnly)?,
    ];
    mounts.extend(apart::names(spec.run_dir)?);
    let mut host = with_ports(host_config(engine, spec.limits, Logging::Dropped, mounts));
    if let Some(tmpfs) = &mut host.tmpfs {
        // The mode is that of the image's directory, and so the owner must be who writes there.
        let (common, uid, gid) = (tmp_options(spec.limits.tmp_bytes), spec.uid, spec.gid);
        let options = format!("{common},uid={uid},gid={gid}");
        tmpfs.insert("/workspace".to_owned(), options);
    }
    Ok(ContainerCreateBody {
        image: Some(spec.image.to_string()),
        hostname: Some("code".into()),
        // Its own namespace all the same, made faster; see `apart`.
        network_disabled: Some(true),
        user: Some(format!("{}:{}", spec.uid, spec.gid)),
        entrypoint: Some(vec![GUEST.into()]),
        cmd: Some(vec![
            "init".into(),
            "--worker".into(),
            spec.component.to_string(),
            "--code".into(),
        ]),
        env: Some(environment(spec.component)),
        working_dir: Some("/workspace".into()),
        labels: Some(labels),
        stop_signal: Some("SIGTERM".into()),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}
