//! `terminal`: one command in a sandbox container, in a directory that was checked.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumi_audit::Recorded;
use rumi_policy::{AbsPath, Confirmed, Permit, Terminal, TerminalFound, TerminalMode};
use tokio_util::sync::CancellationToken;

use super::files::open_for_terminal;
use crate::{
    container::{Outcome as SandboxOutcome, PackLimits, SandboxSpec},
    executions::Execution,
    lease::Lease,
    pipeline::{Context, Handler, Performed},
    policy_store::Root,
    refusal::{Failure, Refusal},
};

/// Serves one `TerminalRun`.
#[derive(Debug)]
pub struct TerminalHandler {
    /// Standard input, closed behind it.
    pub stdin: Bytes,
}

/// The checked directory and the image to run in.
#[derive(Debug)]
pub struct Prepared {
    directory: std::os::fd::OwnedFd,
    image: crate::container::ImageId,
    _root: Arc<Root>,
}

impl Handler<Terminal> for TerminalHandler {
    type Handle = Prepared;
    type Reply = SandboxOutcome;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Terminal>>,
    ) -> Result<(TerminalFound, Prepared), Refusal> {
        let ask = permit.get().ask();
        let terms = permit.get().terms();
        if terms.mode() != TerminalMode::Sandbox || !terms.env().is_empty() {
            return Err(Refusal::failed(
                Failure::Precondition,
                "this broker knows no `mode` and no `env` yet",
            ));
        }
        let opened = open_for_terminal(context, terms.root(), terms.relative(), ask.directory())?;
        let broker = context.broker;
        let (image, programs) = broker.sandbox_programs().await.map_err(|error| {
            tracing::error!(%error, "the sandbox image cannot be used");
            Refusal::failed(
                Failure::Unavailable,
                "the sandbox image cannot be used; the admin's `packctl doctor` says why",
            )
        })?;
        let resolve = |name: &str| -> Option<AbsPath> { programs.resolve(name)?.parse().ok() };
        let program = resolve(ask.program().as_str()).ok_or_else(|| {
            Refusal::failed(
                Failure::NotFound,
                format!(
                    "`{}` is not a program of the sandbox image",
                    ask.program().as_str().escape_debug()
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
            image,
            _root: opened.root,
        };
        Ok((found, prepared))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Terminal>>,
        prepared: Prepared,
    ) -> Performed<SandboxOutcome> {
        let bytes_in = u64::try_from(self.stdin.len()).unwrap_or(u64::MAX);
        let permit = permit.get();
        let ask = permit.ask();
        let cancel = CancellationToken::new();
        let spec = spec(context, permit, prepared, self.stdin);
        let mut lease = Lease::<Terminal>::new(
            context.broker.policy(),
            context.caller.component(),
            ask.clone(),
        );
        let started = Instant::now();
        let running = context.broker.run_sandbox(spec, cancel.clone());
        tokio::pin!(running);
        let ended = tokio::select! {
            ended = &mut running => ended,
            _ = lease.revoked() => {
                cancel.cancel();
                running.await
            }
            // A command that works for a call of a tool leaves with it.
            () = call_ended(context) => {
                cancel.cancel();
                running.await
            }
        };
        let result = ended.map_err(|error| {
            tracing::error!(%error, "a sandbox failed");
            Refusal::failed(
                Failure::Unavailable,
                "the sandbox could not be run; the broker's log says why",
            )
        });
        if let Ok(outcome) = &result {
            context.broker.executions().write(&Execution {
                container_id: outcome.container.as_str(),
                component: context.caller.component().as_str(),
                argv: ask.argv(),
                duration: started.elapsed(),
                exit_code: Some(outcome.exit_code),
                truncated: outcome.truncated,
                stopped_reason: stopped(outcome),
            });
        }
        let detail = result.as_ref().ok().map(|outcome| {
            serde_json::json!({
                "exit_code": outcome.exit_code,
                "stopped_reason": stopped(outcome),
                "truncated": outcome.truncated,
                "sandbox": outcome.container.as_str(),
            })
        });
        let bytes_out = result.as_ref().map_or(0, |outcome| {
            u64::try_from(outcome.stdout.len() + outcome.stderr.len()).unwrap_or(u64::MAX)
        });
        Performed {
            result,
            bytes_in,
            bytes_out,
            detail,
        }
    }
}

fn stopped(outcome: &SandboxOutcome) -> &'static str {
    outcome.stopped.map_or("exited", |stopped| stopped.as_str())
}

/// What to run, within the smaller of the grant's limits and the admin's settings.
fn spec(
    context: Context<'_>,
    permit: &Confirmed<Terminal>,
    prepared: Prepared,
    stdin: Bytes,
) -> SandboxSpec {
    let (ask, terms, facts) = (permit.ask(), permit.terms(), permit.facts());
    let limits = &context.broker.config().terminal;
    let mut argv = ask.argv().to_vec();
    if let Some(first) = argv.first_mut() {
        facts.program.as_str().clone_into(first);
    }
    let max_output = terms.max_output_bytes().min(limits.max_output.bytes());
    SandboxSpec {
        image: prepared.image,
        directory: prepared.directory,
        path: PathBuf::from(ask.directory().as_str()),
        uid: facts.uid,
        gid: facts.gid,
        argv,
        env: Vec::new(),
        stdin: (!stdin.is_empty()).then_some(stdin),
        timeout: Duration::from_millis(terms.timeout_ms()),
        limits: PackLimits {
            memory_bytes: terms.memory_bytes().min(limits.memory_limit.bytes()),
            nano_cpus: limits.cpus.nanos(),
            pids: limits.pids.get(),
            tmp_bytes: limits.tmp_size.bytes(),
        },
        max_output: usize::try_from(max_output).unwrap_or(usize::MAX),
    }
}

/// Resolves when the call that asked is over; never for who asks outside of a call.
async fn call_ended(context: Context<'_>) {
    match context.caller.invocation() {
        Some(invocation) => invocation.ended().await,
        None => std::future::pending().await,
    }
}
