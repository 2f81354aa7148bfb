//! The container of a pack: made, started, found again, stopped.

use std::{collections::HashMap, path::Path, time::Duration};

use bollard::{
    exec::StartExecOptions,
    models::{ContainerCreateBody, ContainerStateStatusEnum, ExecConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        StopContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt as _, stream};
use rumi_policy::{ComponentId, PackId};

use super::{
    engine::{ContainerId, Engine, ExecId, ImageId},
    error::EngineError,
    hardening::{Access, GUEST, Logging, bind, host_config, no_healthcheck},
    labels::{self, ComponentUser, PackLabels, PackLimits},
    surroundings::{environment, with_names},
};

/// Containers that are asked about at the same time.
const INSPECTIONS: usize = 8;

/// All that is needed to start a pack.
#[derive(Debug, Clone)]
pub struct PackSpec<'a> {
    /// Which pack.
    pub pack: &'a PackId,
    /// Its image.
    pub image: &'a ImageId,
    /// Hash of what the image was made from.
    pub content: &'a str,
    /// Its components; PID 1 runs as the first one's user.
    pub components: &'a [ComponentUser],
    /// Group of all of them.
    pub gid: u32,
    /// What it may use.
    pub limits: PackLimits,
    /// Host directory of its sockets, on a shared mount.
    pub run_dir: &'a Path,
    /// The guest's binary on the host.
    pub guest: &'a Path,
    /// Host directory of its work area.
    pub workspace: &'a Path,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Its PID 1 lives.
    Running {
        /// On the host.
        pid: i32,
    },
    /// Its PID 1 ended.
    Ended {
        /// With this code.
        exit_code: i64,
        /// Whether the kernel killed for lack of memory.
        out_of_memory: bool,
    },
}

/// A pack's container as its labels and the engine describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The engine's identifier.
    pub container: ContainerId,
    /// Which pack.
    pub pack: PackId,
    /// The image it was made from.
    pub image: ImageId,
    /// Hash of what the image was made from.
    pub content: String,
    /// Its components and their users.
    pub components: Vec<ComponentUser>,
    /// Group of all of them.
    pub gid: u32,
    /// What it may use.
    pub limits: PackLimits,
    /// How far it is.
    pub state: State,
    /// What it runs under, as the engine says.
    pub runtime: String,
    /// When it was started, as the engine writes times; empty before.
    pub started: String,
}

impl Running {
    /// The host's pid of PID 1, while it lives.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid } => Some(pid),
            State::Created | State::Ended { .. } => None,
        }
    }
}

impl Engine {
    fn container_name(&self, pack: &PackId) -> String {
        format!("rumi-{}-{pack}", self.instance().as_str())
    }

    /// Makes and starts the pack's container. One that ended earlier is replaced.
    ///
    /// # Errors
    /// When the pack runs already, or the engine refuses; nothing is left behind then.
    pub async fn up(&self, spec: &PackSpec<'_>) -> Result<Running, EngineError> {
        let name = self.container_name(spec.pack);
        let body = pack_body(self, spec)?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let create = || async {
            let answer = self
                .docker()
                .create_container(Some(options.clone()), body.clone())
                .await;
            answer.map_err(EngineError::call(
                "create the container of",
                spec.pack.to_string(),
            ))
        };
        let created = match create().await {
            Err(error) if error.is_conflict() => {
                self.make_way(spec.pack, &name).await?;
                create().await?
            }
            other => other?,
        };
        let container = ContainerId::new(&created.id);
        match self.start_and_inspect(&container).await {
            Ok(running) => Ok(running),
            Err(error) => {
                self.remove(&container).await?;
                Err(error)
            }
        }
    }

    /// Removes a container of this name that does not run.
    async fn make_way(&self, pack: &PackId, name: &str) -> Result<(), EngineError> {
        match self.inspect(name).await {
            Ok(Some(found)) if found.pid().is_some() => Err(EngineError::AlreadyUp {
                pack: pack.to_string(),
                container: found.container.to_string(),
            }),
            Ok(Some(found)) => self.remove(&found.container).await,
            Ok(None) => Ok(()),
            // Its labels cannot be read: whatever it is, it has our name and is not a pack.
            Err(EngineError::Incomplete { .. }) => self.remove(&ContainerId::new(name)).await,
            Err(error) => Err(error),
        }
    }

    async fn start_and_inspect(&self, container: &ContainerId) -> Result<Running, EngineError> {
        let started = self
            .docker()
            .start_container(container.as_str(), None)
            .await;
        started.map_err(EngineError::call("start", container.as_str()))?;
        let running = self.inspect(container.as_str()).await?;
        let running = running.ok_or_else(|| EngineError::Incomplete {
            subject: container.to_string(),
            field: "state",
        })?;
        if running.runtime != self.runtime() {
            return Err(EngineError::OtherRuntime {
                container: container.to_string(),
                found: running.runtime,
                wanted: self.runtime().to_owned(),
            });
        }
        match running.state {
            State::Ended { exit_code, .. } => Err(EngineError::EndedAtOnce {
                container: container.to_string(),
                exit_code,
                last_words: self.last_words(container).await,
            }),
            State::Created | State::Running { .. } => Ok(running),
        }
    }

    /// A container by identifier or name; `None` where there is none.
    ///
    /// # Errors
    /// When the engine fails, or the container is not a pack's.
    pub async fn inspect(&self, container: &str) -> Result<Option<Running>, EngineError> {
        let answer = self.docker().inspect_container(container, None).await;
        let found = match answer.map_err(EngineError::call("inspect", container)) {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let incomplete = |field| EngineError::Incomplete {
            subject: container.to_owned(),
            field,
        };
        let runtime = found.host_config.and_then(|host| host.runtime);
        let labels = found
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        let labels = PackLabels::read(&labels).map_err(incomplete)?;
        let state = found.state.ok_or_else(|| incomplete("state"))?;
        let pid = state
            .pid
            .and_then(|pid| i32::try_from(pid).ok())
            .filter(|pid| *pid > 0);
        let how_far = match (state.status, pid) {
            (_, Some(pid)) => State::Running { pid },
            (Some(ContainerStateStatusEnum::CREATED), None) => State::Created,
            _ => State::Ended {
                exit_code: state.exit_code.unwrap_or_default(),
                out_of_memory: state.oom_killed.unwrap_or_default(),
            },
        };
        Ok(Some(Running {
            container: ContainerId::new(&found.id.ok_or_else(|| incomplete("identifier"))?),
            pack: labels.pack,
            image: labels.image,
            content: labels.content,
            components: labels.components,
            gid: labels.gid,
            limits: labels.limits,
            state: how_far,
            runtime: runtime.unwrap_or_default(),
            started: state.started_at.unwrap_or_default(),
        }))
    }

    /// All containers of this broker's packs. This is how a restarted broker adopts what runs.
    ///
    /// A container whose labels are broken is reported in the log and left out.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn list(&self) -> Result<Vec<Running>, EngineError> {
        let ids = self.identifiers(labels::KIND_PACK).await?;
        let mut found = Vec::with_capacity(ids.len());
        let mut answers = stream::iter(ids)
            .map(|id| async move { (self.inspect(id.as_str()).await, id) })
            .buffer_unordered(INSPECTIONS);
        while let Some((answer, id)) = answers.next().await {
            match answer {
                Ok(running) => found.extend(running),
                Err(error @ EngineError::Incomplete { .. }) => {
                    tracing::warn!(container = %id, %error, "a container is not adopted");
                }
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|one, two| one.pack.as_str().cmp(two.pack.as_str()));
        Ok(found)
    }

    /// Identifiers of this broker's containers of one kind.
    pub(super) async fn identifiers(&self, kind: &str) -> Result<Vec<ContainerId>, EngineError> {
        let mine = format!("{}={}", labels::INSTANCE, self.instance().as_str());
        let kind = format!("{}={kind}", labels::KIND);
        let filters = HashMap::from([("label", vec![mine.as_str(), kind.as_str()])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let answer = self.docker().list_containers(Some(options)).await;
        let listed = answer.map_err(EngineError::call("list", "containers"))?;
        let ids = listed.into_iter().filter_map(|summary| summary.id);
        Ok(ids.map(|id| ContainerId::new(&id)).collect())
    }

    /// Starts the worker of a further component under its own user; it outlives this call.
    ///
    /// # Errors
    /// When the component is not one of the container's, or the engine refuses.
    pub async fn exec_worker(
        &self,
        running: &Running,
        component: &ComponentId,
    ) -> Result<ExecId, EngineError> {
        let user = running
            .components
            .iter()
            .find(|user| user.component == *component);
        let user = user.ok_or_else(|| EngineError::Incomplete {
            subject: running.container.to_string(),
            field: "label of this component",
        })?;
        let config = ExecConfig {
            user: Some(format!("{}:{}", user.uid, running.gid)),
            cmd: Some(vec![GUEST.into(), "worker".into(), component.to_string()]),
            env: Some(environment(component)),
            working_dir: Some("/workspace".into()),
            ..ExecConfig::default()
        };
        let failed = || EngineError::call("start a worker in", running.container.as_str());
        let created = self
            .docker()
            .create_exec(running.container.as_str(), config)
            .await
            .map_err(failed())?;
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        self.docker()
            .start_exec(&created.id, Some(detached))
            .await
            .map_err(failed())?;
        Ok(ExecId::new(&created.id))
    }

    /// Stops the container, after `grace` by force, and removes it. One that is gone is fine.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn down(&self, container: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self
            .docker()
            .stop_container(container.as_str(), Some(options))
            .await;
        match stopped.map_err(EngineError::call("stop", container.as_str())) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        self.remove(container).await
    }

    /// Removes the container, running or not. One that is gone, or going, is fine.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let removed = self
            .docker()
            .remove_container(container.as_str(), Some(options))
            .await;
        match removed.map_err(EngineError::call("remove", container.as_str())) {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other,
        }
    }
}

fn pack_body(engine: &Engine, spec: &PackSpec<'_>) -> Result<ContainerCreateBody, EngineError> {
    let first = spec
        .components
        .first()
        .ok_or_else(|| EngineError::Incomplete {
            subject: spec.pack.to_string(),
            field: "component",
        })?;
    let labels = PackLabels {
        pack: spec.pack.clone(),
        image: spec.image.clone(),
        content: spec.content.to_owned(),
        components: spec.components.to_vec(),
        gid: spec.gid,
        limits: spec.limits,
    };
    let mounts = vec![
        bind(spec.run_dir, "/run/rumi", Access::ReadOnlyFollowing)?,
        // What is mounted there on the host appears here too, whenever that is.
        bind(
            &spec.run_dir.join("files"),
            "/files",
            Access::ReadOnlyFollowing,
        )?,
        bind(spec.guest, GUEST, Access::ReadOnly)?,
        bind(spec.workspace, "/workspace", Access::Writable)?,
    ];
    Ok(ContainerCreateBody {
        image: Some(spec.image.to_string()),
        hostname: Some(spec.pack.to_string()),
        user: Some(format!("{}:{}", first.uid, spec.gid)),
        entrypoint: Some(vec![GUEST.into()]),
        cmd: Some(vec![
            "init".into(),
            "--worker".into(),
            first.component.to_string(),
        ]),
        env: Some(environment(&first.component)),
        working_dir: Some("/workspace".into()),
        labels: Some(labels.write(engine.instance())),
        stop_signal: Some("SIGTERM".into()),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(with_names(host_config(
            engine,
            spec.limits,
            Logging::Kept,
            mounts,
        ))),
        ..ContainerCreateBody::default()
    })
}
