//! The requests of the wire that run commands.

use rumi_policy::{AbsPath, Denial, Permission, Reason, TerminalAsk};
use rumi_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::DropGuard;

use super::{Connection, tasks};
use crate::{
    command::{Input, Lines, Outcome, Output, Size, collect, lines},
    handlers::TerminalHandler,
    pipeline,
    refusal::{Failure, Refusal},
};

/// What names a command, whichever way it is asked for.
pub(super) struct Named {
    pub(super) argv: Vec<String>,
    pub(super) command: String,
    pub(super) directory: String,
    pub(super) timeout_ms: u32,
}

impl Connection {
    /// One command, answered when it has ended.
    pub(super) async fn run(
        &self,
        request: v1::TerminalRunRequest,
    ) -> Result<v1::TerminalRunResponse, Refusal> {
        let named = Named {
            argv: request.argv,
            command: request.command,
            directory: request.directory,
            timeout_ms: request.timeout_ms,
        };
        let ask = self.command(named).await?;
        let (asking, worker) = lines();
        let handler = TerminalHandler { worker, tty: None };
        // A command that has begun is not cancelled half-way by a disconnect.
        let keeping = self
            .broker
            .background()
            .spawn(collect(asking, request.stdin));
        let outcome = self.detached(ask, handler).await?;
        let said = keeping.await.unwrap_or_default();
        Ok(tasks::terminal_reply(outcome, said))
    }

    /// Parses what names a command; what cannot be parsed is recorded.
    pub(super) async fn command(&self, named: Named) -> Result<TerminalAsk, Refusal> {
        let directory = if named.directory.is_empty() {
            self.only_directory().await?
        } else {
            self.path("terminal", "run", &named.directory).await?
        };
        let timeout = (named.timeout_ms > 0).then(|| u64::from(named.timeout_ms));
        let parsed = match (named.argv.is_empty(), named.command.is_empty()) {
            (false, true) => TerminalAsk::new(named.argv, directory, timeout),
            (true, false) => TerminalAsk::from_command(&named.command, directory, timeout),
            _ => Err(Denial::new(
                Reason::BadRequest,
                "a run takes either `argv` or `command`, and one of them it needs",
            )),
        };
        match parsed {
            Ok(ask) => Ok(ask),
            Err(denial) => Err(self.malformed("terminal", "run", denial).await),
        }
    }

    /// The directory that is meant when none is named.
    async fn only_directory(&self) -> Result<AbsPath, Refusal> {
        let policy = self.broker.policy().current();
        let grant = policy.set.grant(self.caller.component());
        let granted = grant.and_then(|grant| grant.terminal());
        match granted.map(|granted| granted.directories.as_slice()) {
            Some([only]) => Ok(only.clone()),
            _ => {
                let denial = Denial::new(
                    Reason::BadRequest,
                    "no working directory is named, and the grant does not have just one; name one that was \
                     granted, or work in a directory below /files",
                );
                Err(self.malformed("terminal", "run", denial).await)
            }
        }
    }

    /// Begins a command with its streams. What is refused comes as its first and last word.
    pub async fn start_command(&self, start: v1::TerminalStart) -> Result<Session, Refusal> {
        let tty = start.tty.as_ref().map(size);
        let named = Named {
            argv: start.argv,
            command: start.command,
            directory: start.directory,
            timeout_ms: start.timeout_ms,
        };
        let ask = self.command(named).await?;
        let (asking, worker) = lines();
        let Lines {
            input,
            output,
            taken,
        } = asking;
        let connection = self.clone();
        let (caller, here) = self.caller.apart();
        let waiting = worker.output.clone();
        let task = self.broker.background().spawn(async move {
            let permission = Permission::Terminal.into();
            let place = tokio::select! {
                place = connection.caller.place_for(&permission) => place,
                () = waiting.closed() => {
                    return Err(Refusal::failed(
                        Failure::Unavailable,
                        "whoever asked went away before the command had its turn",
                    ));
                }
            };
            drop(waiting);
            let handler = TerminalHandler { worker, tty };
            let done = pipeline::run(&connection.broker, &caller, ask, handler).await;
            drop(place);
            done
        });
        Ok(Session {
            input,
            output,
            taken,
            task: Some(task),
            _here: here,
            silent: false,
            sated: false,
        })
    }
}

/// A command that was asked for. Dropping it ends the command.
#[derive(Debug)]
pub struct Session {
    input: mpsc::Sender<Input>,
    output: mpsc::Receiver<Output>,
    taken: watch::Receiver<u64>,
    task: Option<JoinHandle<Result<Outcome, Refusal>>>,
    /// Whoever waits for the admin's answer is here for as long as this is.
    _here: DropGuard,
    silent: bool,
    sated: bool,
}

/// What a session tells.
#[derive(Debug)]
pub enum Said {
    /// The command wrote something.
    Output(Output),
    /// The command has read so many bytes in all.
    Taken(u64),
    /// The command has ended; this comes last.
    Exit(v1::TerminalExit),
}

impl Session {
    /// Where the command's input goes.
    #[must_use]
    pub fn input(&self) -> mpsc::Sender<Input> {
        self.input.clone()
    }

    /// What comes next; nothing after the exit or a refusal.
    pub async fn next(&mut self) -> Option<Result<Said, Refusal>> {
        while !self.silent {
            tokio::select! {
                piece = self.output.recv() => match piece {
                    Some(piece) => return Some(Ok(Said::Output(piece))),
                    None => self.silent = true,
                },
                changed = self.taken.changed(), if !self.sated => match changed {
                    Ok(()) => return Some(Ok(Said::Taken(*self.taken.borrow_and_update()))),
                    Err(_) => self.sated = true,
                },
            }
        }
        let ended = self.task.take()?.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a command ended in a panic");
            Err(Refusal::failed(
                Failure::Internal,
                "the broker failed on this request; its log says why",
            ))
        });
        Some(ended.map(|outcome| Said::Exit(exit(&outcome))))
    }
}

fn exit(outcome: &Outcome) -> v1::TerminalExit {
    v1::TerminalExit {
        exit_code: i32::try_from(outcome.exit_code).unwrap_or(i32::MAX),
        truncated: outcome.truncated,
        stopped_reason: tasks::stopped_reason(outcome.stopped).into(),
        duration_ms: tasks::millis(outcome.duration),
    }
}

/// A size beyond what a terminal can have is the largest that it can.
pub(super) fn size(size: &v1::TerminalSize) -> Size {
    let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Size {
        rows: number(size.rows),
        columns: number(size.columns),
    }
}
