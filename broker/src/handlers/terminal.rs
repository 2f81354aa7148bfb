//! `terminal`: one command in a sandbox container, in a directory that was checked.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rumi_audit::Recorded;
use rumi_policy::{AbsPath, Confirmed, EnvKey, Permit, Terminal, TerminalFound, TerminalMode};

use super::files::open_for_terminal;
use crate::{
    command::{Environment, Outcome, Shown, Size, Stopped, Worker, host},
    container::{ImageId, PackLimits, ProgramIndex, SandboxSpec},
    executions::Execution,
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    policy_store::Root,
    refusal::{Failure, Refusal},
};

/// Serves one command.
#[derive(Debug)]
pub struct TerminalHandler {
    /// The command's side of its input and output.
    pub worker: Worker,
    /// The size of its terminal, where it is to have one.
    pub tty: Option<Size>,
}

/// The checked directory and the place to run in.
#[derive(Debug)]
pub struct Prepared {
    directory: std::os::fd::OwnedFd,
    place: Place,
    _root: Arc<Root>,
}

/// Where a command runs.
#[derive(Debug)]
enum Place {
    Sandbox(ImageId, Arc<ProgramIndex>),
    Host,
}

impl Place {
    fn resolve(&self, program: &str) -> Option<AbsPath> {
        match self {
            Self::Sandbox(_, programs) => programs.resolve(program)?.parse().ok(),
            Self::Host => host::resolve(program),
        }
    }

    fn name(&self, context: Context<'_>) -> String {
        match self {
            Self::Sandbox(..) => format!("the image `{}`", context.caller.base().image()),
            Self::Host => "root's on this host".to_owned(),
        }
    }
}

async fn place(context: Context<'_>, mode: TerminalMode) -> Result<Place, Refusal> {
    if mode == TerminalMode::Host {
        return Ok(Place::Host);
    }
    let found = context.broker.sandbox_programs(context.caller.base()).await;
    let (image, programs) = found.map_err(|error| {
        tracing::error!(%error, "the sandbox image cannot be used");
        Refusal::failed(
            Failure::Unavailable,
            "the sandbox image cannot be used; the admin's `packctl doctor` says why",
        )
    })?;
    Ok(Place::Sandbox(image, programs))
}

impl Handler<Terminal> for TerminalHandler {
    type Handle = Prepared;
    type Reply = Outcome;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Terminal>>,
    ) -> Result<(TerminalFound, Prepared), Refusal> {
        let ask = permit.get().ask();
        let terms = permit.get().terms();
        let opened = open_for_terminal(context, terms.root(), terms.relative(), ask.directory())?;
        let place = place(context, terms.mode()).await?;
        let resolve = |name: &str| place.resolve(name);
        let program = resolve(ask.program().as_str()).ok_or_else(|| {
            Refusal::failed(
                Failure::NotFound,
                format!(
                    "`{}` is not a program of {}, where commands of this component run",
                    ask.program().as_str().escape_debug(),
                    place.name(context)
                ),
            )
        })?;
        let found = TerminalFound {
            program,
            allowed: terms
                .allowed_commands()
                .iter()
                .map(|command| resolve(command.program().as_str()))
                .collect(),
            real_root: opened.root.path().clone(),
            real_directory: opened.real_path,
            owner_uid: opened.owner_uid,
            owner_gid: opened.owner_gid,
        };
        let prepared = Prepared {
            directory: opened.handle,
            place,
            _root: opened.root,
        };
        Ok((found, prepared))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Terminal>>,
        prepared: Prepared,
    ) -> Performed<Outcome> {
        let record = permit.id().to_string();
        let permit = permit.get();
        let environment = match environment(context, permit) {
            Ok(environment) => environment,
            Err(refusal) => return Performed::plain(Err(refusal)),
        };
        let entered = context.broker.commands().enter(shown(permit, record));
        let mut lease = Lease::<Terminal>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.ask().clone(),
        );
        let ending = async {
            tokio::select! {
                _ = lease.revoked() => Stopped::Revoked,
                // A command that works for a call of a tool leaves with it.
                () = call_ended(context) => Stopped::Disconnected,
                () = entered.stopped() => Stopped::ByAdmin,
            }
        };
        let run = Run {
            directory: prepared.directory,
            environment,
            tty: self.tty,
            worker: self.worker,
        };
        let result = match prepared.place {
            Place::Sandbox(image, _) => run.in_sandbox(context, permit, image, ending).await,
            Place::Host => run.on_host(context, permit, ending).await,
        };
        drop(entered);
        performed(context, permit, result)
    }
}

/// The outcome for the records and for the reply.
fn performed(
    context: Context<'_>,
    permit: &Confirmed<Terminal>,
    result: Result<Outcome, Refusal>,
) -> Performed<Outcome> {
    let Ok(outcome) = &result else {
        return Performed::plain(result);
    };
    context.broker.executions().write(&Execution {
        container_id: &outcome.place,
        component: context.caller.component().as_str(),
        argv: permit.ask().argv(),
        duration: outcome.duration,
        exit_code: Some(outcome.exit_code),
        truncated: outcome.truncated,
        stopped_reason: stopped(outcome),
        error: None,
        findings: &[],
    });
    let detail = serde_json::json!({
        "exit_code": outcome.exit_code,
        "stopped_reason": stopped(outcome),
        "truncated": outcome.truncated,
        "sandbox": outcome.place,
    });
    Performed {
        bytes_in: outcome.bytes_in,
        bytes_out: outcome.bytes_out,
        detail: Some(detail),
        result,
    }
}

fn stopped(outcome: &Outcome) -> &'static str {
    outcome.stopped.map_or("exited", Stopped::as_str)
}

fn environment(context: Context<'_>, permit: &Confirmed<Terminal>) -> Result<Environment, Refusal> {
    let secrets = context.broker.secrets();
    let secret = |name: &EnvKey| secrets.get(name);
    Environment::render(permit.terms().env(), &secret).map_err(|error| {
        tracing::error!(component = %context.caller.component(), %error, "a command has no environment");
        Refusal::failed(
            Failure::Precondition,
            "the environment that the grant gives this command cannot be made; the broker's log says why",
        )
    })
}

fn shown(permit: &Confirmed<Terminal>, record: String) -> Shown {
    let ask = permit.ask();
    Shown {
        record,
        component: permit.component().clone(),
        argv: ask.argv().to_vec(),
        directory: ask.directory().to_string(),
        on_host: permit.terms().mode() == TerminalMode::Host,
        since: SystemTime::now(),
    }
}

/// A command that may run, with all that it needs.
struct Run {
    directory: std::os::fd::OwnedFd,
    environment: Environment,
    tty: Option<Size>,
    worker: Worker,
}

impl Run {
    /// Within the smaller of the grant's limits and the admin's settings.
    async fn in_sandbox(
        self,
        context: Context<'_>,
        permit: &Confirmed<Terminal>,
        image: ImageId,
        ending: impl Future<Output = Stopped> + Send,
    ) -> Result<Outcome, Refusal> {
        let (ask, terms, facts) = (permit.ask(), permit.terms(), permit.facts());
        let limits = &context.broker.config().terminal;
        let spec = SandboxSpec {
            image,
            directory: self.directory,
            path: PathBuf::from(ask.directory().as_str()),
            uid: facts.uid,
            gid: facts.gid,
            argv: argv(permit),
            environment: self.environment,
            tty: self.tty,
            timeout: Duration::from_millis(terms.timeout_ms()),
            limits: PackLimits {
                memory_bytes: terms.memory_bytes().min(limits.memory_limit.bytes()),
                nano_cpus: limits.cpus.nanos(),
                pids: limits.pids.get(),
                tmp_bytes: limits.tmp_size.bytes(),
            },
            max_output: max_output(context, permit),
        };
        let ended = context.broker.run_sandbox(spec, self.worker, ending).await;
        ended.map_err(|error| {
            tracing::error!(%error, "a sandbox failed");
            Refusal::failed(
                Failure::Unavailable,
                "the sandbox could not be run; the broker's log says why",
            )
        })
    }

    async fn on_host(
        self,
        context: Context<'_>,
        permit: &Confirmed<Terminal>,
        ending: impl Future<Output = Stopped> + Send,
    ) -> Result<Outcome, Refusal> {
        let facts = permit.facts();
        if facts.gid == 0 {
            return Err(Refusal::failed(
                Failure::Precondition,
                "the directory belongs to root's group, whose rights no command on the host is given",
            ));
        }
        let spec = host::HostSpec {
            guest: context.broker.guest().to_owned(),
            directory: self.directory,
            uid: facts.uid,
            gid: facts.gid,
            argv: argv(permit),
            environment: self.environment,
            tty: self.tty,
            timeout: Duration::from_millis(permit.terms().timeout_ms()),
            max_output: max_output(context, permit),
        };
        host::run(spec, self.worker, ending).await.map_err(|error| {
            tracing::error!(%error, "a command on the host failed");
            Refusal::failed(
                Failure::Unavailable,
                "the command could not be run; the broker's log says why",
            )
        })
    }
}

/// The words of the command, with the program by its real path.
fn argv(permit: &Confirmed<Terminal>) -> Vec<String> {
    let mut argv = permit.ask().argv().to_vec();
    if let Some(first) = argv.first_mut() {
        permit.facts().program.as_str().clone_into(first);
    }
    argv
}

fn max_output(context: Context<'_>, permit: &Confirmed<Terminal>) -> usize {
    let limit = context.broker.config().terminal.max_output.bytes();
    let bytes = permit.terms().max_output_bytes().min(limit);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Resolves when the call that asked is over; never for who asks outside of a call.
async fn call_ended(context: Context<'_>) {
    match context.caller.invocation() {
        Some(invocation) => invocation.ended().await,
        None => std::future::pending().await,
    }
}
