//! PID 1: reaps what nobody waits for, keeps the first component's worker alive, and hands
//! questions for names to the workers. One thread, no runtime; whatever happens here ends the
//! container.

mod log;
mod switchboard;

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    libc::signalfd_siginfo,
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{DumpableBehavior, Pid, WaitOptions, WaitStatus, set_dumpable_behavior, wait},
};

use self::switchboard::Switchboard;
use crate::{backoff::Backoff, say};

/// A worker that lived this long was fine; what ended it is no reason to wait.
const HEALTHY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("cannot hide the memory of this process")]
    Dumpable(#[source] rustix::io::Errno),
    #[error("cannot receive signals")]
    Signals(#[source] nix::Error),
    #[error("cannot wait for signals")]
    Poll(#[source] rustix::io::Errno),
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(worker: Option<Vec<OsString>>) -> Result<(), InitError> {
    // Processes of the same user could otherwise write into PID 1.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(InitError::Dumpable)?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        wanted.add(signal);
    }
    wanted.thread_block().map_err(InitError::Signals)?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(InitError::Signals)?;
    // Before any code of the pack runs, which could otherwise take its place.
    let mut switchboard = worker.as_ref().and_then(|_| open_switchboard());
    let mut worker = worker.map(Worker::new);
    let mut stops = Stops::new();
    loop {
        if let Some(worker) = &mut worker {
            worker.start_when_due();
        }
        let pause = worker.as_ref().and_then(Worker::pause);
        wait_readable(&signals, switchboard.as_ref(), pause)?;
        while let Some(signal) = signals.read_signal().map_err(InitError::Signals)? {
            if stops.is_obeyed(&signal) {
                return Ok(());
            }
        }
        reap(worker.as_mut());
        if let Some(switchboard) = &mut switchboard {
            switchboard.serve();
        }
    }
}

/// A container without names is better than none; clients learn at once that nobody answers.
fn open_switchboard() -> Option<Switchboard> {
    Switchboard::open()
        .inspect_err(|error| say::line(&format!("cannot answer questions for names: {error}")))
        .ok()
}

fn wait_readable(
    signals: &SignalFd,
    switchboard: Option<&Switchboard>,
    pause: Option<Duration>,
) -> Result<(), InitError> {
    let timeout = pause.map(|pause| Timespec {
        tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: pause.subsec_nanos().into(),
    });
    let lines = switchboard.into_iter().flat_map(Switchboard::descriptors);
    let mut wanted: Vec<PollFd<'_>> = std::iter::once(signals.as_fd())
        .chain(lines)
        .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
        .collect();
    match poll(&mut wanted, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(InitError::Poll(error)),
    }
}

/// Which signals end the container.
struct Stops {
    first_process: bool,
    said: bool,
}

impl Stops {
    fn new() -> Self {
        Self {
            first_process: std::process::id() == 1,
            said: false,
        }
    }

    /// The first component's code runs under the uid of PID 1 and may signal it. Only a
    /// sender outside of the PID namespace, which shows as process 0, is the engine.
    fn is_obeyed(&mut self, signal: &signalfd_siginfo) -> bool {
        if signal.ssi_signo == Signal::SIGCHLD as u32 {
            return false;
        }
        if !self.first_process || signal.ssi_pid == 0 {
            return true;
        }
        if !self.said {
            say::line(&format!(
                "process {} inside of the container asked it to stop; this and further such signals are ignored",
                signal.ssi_pid
            ));
            self.said = true;
        }
        false
    }
}

fn reap(mut worker: Option<&mut Worker>) {
    // An error means that there are no children.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        if let Some(worker) = worker.as_deref_mut() {
            worker.child_changed(pid, status);
        }
    }
}

struct Worker {
    arguments: Vec<OsString>,
    backoff: Backoff,
    state: State,
}

enum State {
    Due(Instant),
    Running { pid: u32, since: Instant },
}

impl Worker {
    fn new(arguments: Vec<OsString>) -> Self {
        Self {
            arguments,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            state: State::Due(Instant::now()),
        }
    }

    fn pause(&self) -> Option<Duration> {
        match self.state {
            State::Due(at) => Some(at.saturating_duration_since(Instant::now())),
            State::Running { .. } => None,
        }
    }

    fn start_when_due(&mut self) {
        let State::Due(at) = self.state else {
            return;
        };
        if at > Instant::now() {
            return;
        }
        match self.start() {
            Ok(pid) => {
                self.state = State::Running {
                    pid,
                    since: Instant::now(),
                };
            }
            Err(error) => {
                say::line(&format!("cannot start the worker: {error}"));
                self.state = State::Due(Instant::now() + self.backoff.pause());
            }
        }
    }

    fn start(&self) -> io::Result<u32> {
        // The link finds this very file even when the host has replaced the binary since.
        let child = Command::new("/proc/self/exe")
            .arg0("rumi-guest")
            .arg("worker")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(child.id())
    }

    fn child_changed(&mut self, pid: Pid, status: WaitStatus) {
        let State::Running { pid: ours, since } = self.state else {
            return;
        };
        if u32::try_from(pid.as_raw_nonzero().get()) != Ok(ours) {
            return;
        }
        if status.stopped() {
            // A tool of the same uid may stop its worker; a stopped worker serves nobody.
            if rustix::process::kill_process(pid, rustix::process::Signal::CONT).is_err() {
                say::line(&"the worker is stopped and cannot be continued");
            }
            return;
        }
        if since.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        let pause = self.backoff.pause();
        say::line(&format!(
            "the worker ended ({}), starting it again in {} ms",
            ending(status),
            pause.as_millis()
        ));
        self.state = State::Due(Instant::now() + pause);
    }
}

fn ending(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no known reason".to_owned(),
    }
}
