//! A container that lives for one command: made, fed, read, measured against its bounds, removed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    models::{ContainerCreateBody, Mount},
    query_parameters::{
        AttachContainerOptionsBuilder, KillContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt as _;

use super::{
    engine::{ContainerId, Engine, ImageId},
    error::EngineError,
    hardening::{Logging, host_config, no_healthcheck},
    labels::{self, PackLimits},
};
use crate::command::{
    Bounds, Ends, Environment, Outcome, Output, Reach, Signal, Stopped, Worker, keep,
};

/// What to run, and within which bounds.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) image: ImageId,
    /// Program and arguments; no shell sees them.
    pub(super) argv: Vec<String>,
    /// For programs that know nothing of [`Environment`]; whoever may ask the engine sees it.
    pub(super) env: Vec<String>,
    /// Written first, and answered by one byte, where the program is the guest that keeps a command.
    pub(super) environment: Option<Environment>,
    /// Whether its input goes in frames, because the guest makes a terminal.
    pub(super) framed: bool,
    pub(super) user: String,
    pub(super) directory: String,
    pub(super) mounts: Vec<Mount>,
    pub(super) limits: PackLimits,
    pub(super) timeout: Duration,
    /// Bytes of stdout, and as many of stderr.
    pub(super) max_output: usize,
}

/// Runs the command in a container of its own. The container is removed whatever happens,
/// also when the returned future is dropped. `ending` says why it is to end before its time;
/// `started` is called when its mounts are taken.
pub(super) async fn run(
    engine: &Engine,
    command: Command,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
    started: impl FnOnce() + Send,
) -> Result<Outcome, EngineError> {
    let created = engine
        .docker()
        .create_container(None, body(engine, &command))
        .await;
    let created = created.map_err(EngineError::call(
        "create a sandbox from",
        command.image.as_str(),
    ))?;
    let mut guard = Guard {
        engine: engine.clone(),
        container: Some(ContainerId::new(&created.id)),
    };
    let container = ContainerId::new(&created.id);
    let outcome = attended(engine, &container, command, worker, ending, started).await;
    guard.container = None;
    engine.remove(&container).await?;
    outcome
}

/// Removes the container when the request that waits for it goes away.
struct Guard {
    engine: Engine,
    container: Option<ContainerId>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(container) = self.container.take() else {
            return;
        };
        let engine = self.engine.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = engine.remove(&container).await {
                    tracing::warn!(%error, "a sandbox is left; the next start removes it");
                }
            });
        }
    }
}

async fn attended(
    engine: &Engine,
    container: &ContainerId,
    command: Command,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
    started: impl FnOnce() + Send,
) -> Result<Outcome, EngineError> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .stdin(true)
        .build();
    let attached = engine
        .docker()
        .attach_container(container.as_str(), Some(options))
        .await;
    let AttachContainerResults { output, input } =
        attached.map_err(EngineError::call("attach to", container.as_str()))?;
    let begin = Instant::now();
    let exit = start(engine, container).await?;
    started();
    let reach = Container {
        engine: engine.clone(),
        container: container.clone(),
    };
    let ends = Ends {
        writer: input,
        output: output.filter_map(async |piece| piece.ok().map(told)),
        exit,
        reach,
    };
    let bounds = Bounds {
        environment: command.environment,
        framed: command.framed,
        timeout: command.timeout,
        max_output: command.max_output,
    };
    let kept = keep(ends, bounds, worker, ending).await;
    let duration = begin.elapsed();
    if kept.stopped.is_some() {
        kill(engine, container).await?;
    }
    let (exit_code, out_of_memory) = ended(engine, container).await?;
    Ok(Outcome {
        exit_code,
        truncated: kept.truncated,
        stopped: kept.reason(exit_code, out_of_memory),
        place: container.to_string(),
        duration,
        bytes_in: kept.bytes_in,
        bytes_out: kept.bytes_out,
    })
}

fn told(piece: LogOutput) -> Output {
    if matches!(piece, LogOutput::StdErr { .. }) {
        Output::Stderr(piece.into_bytes())
    } else {
        Output::Stdout(piece.into_bytes())
    }
}

struct Container {
    engine: Engine,
    container: ContainerId,
}

impl Reach for Container {
    async fn signal(&mut self, signal: Signal) {
        let options = KillContainerOptionsBuilder::default()
            .signal(&format!("SIG{}", signal.as_str()))
            .build();
        let docker = self.engine.docker();
        let sent = docker.kill_container(self.container.as_str(), Some(options));
        if let Err(error) = sent.await {
            // It ended a moment before, most likely.
            tracing::debug!(%error, "a signal did not reach a sandbox");
        }
    }
}

/// Starts the container; what it gives completes when the container ends. The end is asked
/// for before the start: a short command would be over by the time it is asked.
async fn start(
    engine: &Engine,
    container: &ContainerId,
) -> Result<impl Future<Output = ()> + use<>, EngineError> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("next-exit")
        .build();
    let mut waits = Box::pin(
        engine
            .docker()
            .wait_container(container.as_str(), Some(options)),
    );
    let mut over = false;
    {
        let started = engine.docker().start_container(container.as_str(), None);
        tokio::pin!(started);
        loop {
            tokio::select! {
                answer = &mut started => {
                    answer.map_err(EngineError::call("start", container.as_str()))?;
                    break;
                }
                _ = waits.next(), if !over => over = true,
            }
        }
    }
    Ok(async move {
        if !over {
            drop(waits.next().await);
        }
    })
}

async fn kill(engine: &Engine, container: &ContainerId) -> Result<(), EngineError> {
    let answer = engine
        .docker()
        .kill_container(container.as_str(), None)
        .await;
    match answer.map_err(EngineError::call("kill", container.as_str())) {
        // It ended by itself a moment before.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

async fn ended(engine: &Engine, container: &ContainerId) -> Result<(i64, bool), EngineError> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let mut waits = Box::pin(
        engine
            .docker()
            .wait_container(container.as_str(), Some(options)),
    );
    let code = match waits.next().await {
        Some(Ok(answer)) => answer.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(EngineError::call("wait for", container.as_str())(error)),
        None => -1,
    };
    let answer = engine
        .docker()
        .inspect_container(container.as_str(), None)
        .await;
    let state = answer
        .map_err(EngineError::call("inspect", container.as_str()))?
        .state;
    Ok((
        code,
        state.and_then(|state| state.oom_killed).unwrap_or_default(),
    ))
}

fn body(engine: &Engine, command: &Command) -> ContainerCreateBody {
    let (program, arguments) = match command.argv.split_first() {
        Some((program, arguments)) => (program.clone(), arguments.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let labels = HashMap::from([
        (
            labels::INSTANCE.to_owned(),
            engine.instance().as_str().to_owned(),
        ),
        (labels::KIND.to_owned(), labels::KIND_SANDBOX.to_owned()),
    ]);
    ContainerCreateBody {
        image: Some(command.image.to_string()),
        hostname: Some("sandbox".into()),
        user: Some(command.user.clone()),
        entrypoint: Some(vec![program]),
        cmd: Some(arguments),
        env: Some(command.env.clone()),
        working_dir: Some(command.directory.clone()),
        labels: Some(labels),
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(host_config(
            engine,
            command.limits,
            Logging::Dropped,
            command.mounts.clone(),
        )),
        ..ContainerCreateBody::default()
    }
}
