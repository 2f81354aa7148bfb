//! One call of a tool, from its arguments to the last of its processes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{json, value::RawValue};
use tokio::time::error::Elapsed;

use super::{
    frame::{FrameError, FromSpare, ProgramStopped, SpareSays, ToSpare, ToolError},
    pool::Pool,
    spare::Spare,
};
use crate::caller::Invocation;

/// How long a call waits for a process of its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this long a call is none of the short ones, and the spare that it took is replaced while it runs.
const LONG: Duration = Duration::from_millis(5);

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The tool answered.
    Answered,
    /// Its time was up.
    Timeout,
    /// It needed more memory than it may.
    Memory,
    /// Its process ended without an answer, or answered nonsense.
    Crashed,
    /// It never began.
    NotStarted,
    /// Who asked for it may not have it any more, or is gone.
    Cut,
}

impl Stopped {
    /// The name in replies and in the record of executions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "exited",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Crashed => "crashed",
            Self::NotStarted => "not_started",
            Self::Cut => "cut",
        }
    }
}

/// All there is to say of a call.
#[derive(Debug)]
pub struct CallReport {
    /// `{"ok": ...}`, as JSON text.
    pub result: String,
    /// What it printed, cut at the limit.
    pub stdout: String,
    /// What it printed on stderr, cut at the limit.
    pub stderr: String,
    /// Something of the above was cut.
    pub truncated: bool,
    /// Why it ended.
    pub stopped: Stopped,
    /// Until a process of its own was there for it.
    pub waiting: Duration,
    /// From the call's frame to its answer.
    pub duration: Duration,
    /// From the answer until all of its processes were killed.
    pub ending: Duration,
    /// Most memory that all its processes held together, in bytes.
    pub memory_peak: u64,
}

impl Pool {
    /// Runs one call to its end. Runs as a task of its own, so that a caller who goes
    /// away leaves neither processes nor a cgroup behind.
    ///
    /// # Errors
    /// Never: whatever goes wrong is a result with `ok: false`.
    pub async fn call(
        self: &Arc<Self>,
        invocation: Arc<Invocation>,
        args: Box<RawValue>,
        timeout: Option<Duration>,
    ) -> CallReport {
        let pool = Arc::clone(self);
        let limit = timeout
            .unwrap_or(self.spec().timeout)
            .min(self.spec().timeout);
        let running = tokio::spawn(async move { pool.run(invocation, &args, limit).await });
        running
            .await
            .unwrap_or_else(|error| not_started("internal", &error.to_string()))
    }

    async fn run(
        self: &Arc<Self>,
        invocation: Arc<Invocation>,
        args: &RawValue,
        limit: Duration,
    ) -> CallReport {
        let asked = Instant::now();
        let mut spare = match self.take(PATIENCE).await {
            Ok(spare) => spare,
            Err(error) => return not_started("worker_unavailable", &error.to_string()),
        };
        if let Some(error) = spare.broken() {
            let report = not_started(&error.kind, &error.message);
            self.strike(spare).await;
            return report;
        }
        spare.slot().begin(Arc::clone(&invocation));
        self.running.begins(&invocation);
        let waiting = asked.elapsed();
        let started = Instant::now();
        let answered = self.asked(&mut spare, &invocation, args, limit).await;
        let duration = started.elapsed();
        let printed = match &answered {
            Some(Err(_)) => spare.printed().await,
            _ => None,
        };
        let answered_at = Instant::now();
        let ended = self.strike(spare).await;
        let ending = answered_at.elapsed();
        invocation.end();
        let (peak, starved) = (ended.memory_peak.unwrap_or(0), ended.out_of_memory);
        let mut report = match answered {
            Some(Ok(Ok(said))) => {
                let stopped = said.stopped;
                let report = said_report(said);
                if stopped == Some(ProgramStopped::Memory) || (starved && stopped.is_some()) {
                    CallReport {
                        result: memory_report(self.spec().memory_bytes, peak).result,
                        stopped: Stopped::Memory,
                        ..report
                    }
                } else {
                    report
                }
            }
            Some(Ok(Err(_))) if starved => memory_report(self.spec().memory_bytes, peak),
            Some(Ok(Err(error))) => ended_report(&error),
            None => failure(Stopped::Cut, "cut", "the call was ended from outside"),
            Some(Err(_)) => failure(
                Stopped::Timeout,
                "timeout",
                &format!(
                    "the tool did not answer within {} ms; raise `timeout_ms` in its pack.json if it should have more, or `--timeout` where the caller set it",
                    limit.as_millis()
                ),
            ),
        };
        if let Some(printed) = printed {
            report.stdout = printed.stdout;
            report.stderr = printed.stderr;
            report.truncated = printed.truncated;
        }
        report.waiting = waiting;
        report.duration = duration;
        report.ending = ending;
        report.memory_peak = peak;
        report
    }

    /// What the spare answered; nothing where the call was cut off before it did.
    async fn asked(
        &self,
        spare: &mut Spare,
        invocation: &Invocation,
        args: &RawValue,
        limit: Duration,
    ) -> Option<Result<Result<FromSpare, FrameError>, Elapsed>> {
        let call = ToSpare::Call {
            invocation: invocation.id(),
            args,
        };
        let asking = tokio::time::timeout(limit, spare.ask(&call));
        let replacing = async {
            tokio::time::sleep(LONG).await;
            self.order();
            std::future::pending().await
        };
        tokio::select! {
            answered = asking => Some(answered),
            () = invocation.was_cut() => None,
            never = replacing => never,
        }
    }
}

fn said_report(said: FromSpare) -> CallReport {
    let (SpareSays::Result, Some(result)) = (said.says, said.result) else {
        return failure(
            Stopped::Crashed,
            "protocol",
            "the tool's process answered with something that is no result",
        );
    };
    CallReport {
        result: result.get().to_owned(),
        stdout: said.stdout,
        stderr: said.stderr,
        truncated: said.truncated,
        stopped: match said.stopped {
            None | Some(ProgramStopped::Exit) => Stopped::Answered,
            Some(ProgramStopped::Memory) => Stopped::Memory,
            Some(ProgramStopped::Crashed) => Stopped::Crashed,
        },
        waiting: Duration::ZERO,
        duration: Duration::ZERO,
        ending: Duration::ZERO,
        memory_peak: 0,
    }
}

fn memory_report(limit: u64, peak: u64) -> CallReport {
    const MIB: u64 = 1024 * 1024;
    failure(
        Stopped::Memory,
        "memory",
        &format!(
            "the tool needed more than its {} MB, and used {} MB at its peak; raise `memory_mb` in its pack.json if it should have more",
            limit / MIB,
            peak.div_ceil(MIB)
        ),
    )
}

fn ended_report(error: &FrameError) -> CallReport {
    match error {
        FrameError::Closed(_) => failure(
            Stopped::Crashed,
            "crashed",
            "the tool's process ended without an answer",
        ),
        other => failure(Stopped::Crashed, "protocol", &other.to_string()),
    }
}

fn not_started(kind: &str, message: &str) -> CallReport {
    failure(Stopped::NotStarted, kind, message)
}

fn failure(stopped: Stopped, kind: &str, message: &str) -> CallReport {
    let error = ToolError {
        message: message.to_owned(),
        kind: kind.to_owned(),
    };
    CallReport {
        result: json!({"ok": false, "error": error}).to_string(),
        stdout: String::new(),
        stderr: String::new(),
        truncated: false,
        stopped,
        waiting: Duration::ZERO,
        duration: Duration::ZERO,
        ending: Duration::ZERO,
        memory_peak: 0,
    }
}
