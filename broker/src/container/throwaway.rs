//! A container that lives for one command: made, fed, read, measured against its bounds, removed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    container::{AttachContainerResults, LogOutput},
    models::{ContainerCreateBody, Mount},
    query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{
    engine::{ContainerId, Engine, ImageId},
    error::EngineError,
    hardening::{Logging, host_config, no_healthcheck},
    labels::{self, PackLimits},
};

/// How long the last output may take to arrive after the command ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// What to run, and within which bounds.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) image: ImageId,
    /// Program and arguments; no shell sees them.
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) user: String,
    pub(super) directory: String,
    pub(super) mounts: Vec<Mount>,
    pub(super) limits: PackLimits,
    pub(super) stdin: Option<Bytes>,
    pub(super) timeout: Duration,
    /// Bytes of stdout, and as many of stderr.
    pub(super) max_output: usize,
}

/// Why a command was ended before it ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran for longer than it may.
    Timeout,
    /// It wrote more than it may.
    OutputLimit,
    /// It, or one of its children, used more memory than it may.
    OutOfMemory,
    /// Its grant went away, or nobody waits any more.
    Revoked,
}

impl Stopped {
    /// The word for records and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::OutputLimit => "output_limit",
            Self::OutOfMemory => "out_of_memory",
            Self::Revoked => "revoked",
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its code; 137 where it was killed.
    pub exit_code: i64,
    /// What it wrote, up to the bound.
    pub stdout: Vec<u8>,
    /// What it complained of, up to the bound.
    pub stderr: Vec<u8>,
    /// Whether more was written than is kept.
    pub truncated: bool,
    /// Why it was ended, where it was.
    pub stopped: Option<Stopped>,
    /// The container it ran in, which is gone.
    pub container: ContainerId,
    /// From start to end.
    pub duration: Duration,
}

/// Runs the command in a container of its own. The container is removed whatever happens,
/// also when the returned future is dropped. `started` is called when its mounts are taken.
pub(super) async fn run(
    engine: &Engine,
    command: Command,
    cancel: &CancellationToken,
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
    let outcome = attended(engine, &container, command, cancel, started).await;
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
    cancel: &CancellationToken,
    started: impl FnOnce() + Send,
) -> Result<Outcome, EngineError> {
    let options = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .stdin(command.stdin.is_some())
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
    let feed = tokio::spawn(feed(input, command.stdin));
    let mut kept = Kept::new(command.max_output);
    let deadline = tokio::time::sleep(command.timeout);
    let stopped = tokio::select! {
        stopped = kept.read(output, exit) => stopped,
        () = deadline => Some(Stopped::Timeout),
        () = cancel.cancelled() => Some(Stopped::Revoked),
    };
    feed.abort();
    let duration = begin.elapsed();
    if stopped.is_some() {
        kill(engine, container).await?;
    }
    let (exit_code, out_of_memory) = ended(engine, container).await?;
    Ok(Outcome {
        exit_code,
        stdout: kept.stdout,
        stderr: kept.stderr,
        truncated: kept.truncated,
        stopped: stopped.or(out_of_memory.then_some(Stopped::OutOfMemory)),
        container: container.clone(),
        duration,
    })
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

/// Writes the command's input and its end, and holds the connection, which carries the
/// output as well, until it is aborted.
async fn feed(mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>, stdin: Option<Bytes>) {
    if let Some(bytes) = stdin
        && input.write_all(&bytes).await.is_ok()
        && let Err(error) = input.shutdown().await
    {
        tracing::debug!(%error, "a sandbox did not take the end of its input");
    }
    std::future::pending::<()>().await;
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

/// What the engine sends of a container's output.
type Output = std::pin::Pin<
    Box<dyn futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>,
>;

/// What is kept of the output.
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    bound: usize,
    truncated: bool,
}

impl Kept {
    fn new(bound: usize) -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            bound,
            truncated: false,
        }
    }

    /// Reads until the command has ended and its output too, which can lag a little. A
    /// command that closes its output and goes on is waited for.
    async fn read(
        &mut self,
        mut output: Output,
        exit: impl Future<Output = ()>,
    ) -> Option<Stopped> {
        tokio::pin!(exit);
        let lag = tokio::time::sleep(OUTPUT_GRACE);
        tokio::pin!(lag);
        let (mut exited, mut silent) = (false, false);
        while !(exited && silent) {
            tokio::select! {
                piece = output.next(), if !silent => match piece {
                    Some(Ok(piece)) if !self.take(&piece) => return Some(Stopped::OutputLimit),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => silent = true,
                },
                () = &mut exit, if !exited => {
                    exited = true;
                    lag.as_mut().reset(tokio::time::Instant::now() + OUTPUT_GRACE);
                }
                () = &mut lag, if exited => return None,
            }
        }
        None
    }

    /// Keeps a piece; `false` when it did not fit.
    fn take(&mut self, piece: &LogOutput) -> bool {
        let target = match piece {
            LogOutput::StdErr { .. } => &mut self.stderr,
            _ => &mut self.stdout,
        };
        let bytes: &[u8] = piece.as_ref();
        let room = self.bound.saturating_sub(target.len());
        let (fits, rest) = bytes.split_at(room.min(bytes.len()));
        target.extend_from_slice(fits);
        self.truncated |= !rest.is_empty();
        rest.is_empty()
    }
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
        attach_stdin: Some(command.stdin.is_some()),
        open_stdin: Some(command.stdin.is_some()),
        stdin_once: Some(command.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        healthcheck: Some(no_healthcheck()),
        host_config: Some(host_config(
            command.limits,
            Logging::Dropped,
            command.mounts.clone(),
        )),
        ..ContainerCreateBody::default()
    }
}
