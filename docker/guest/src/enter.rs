//! Runs one command and keeps it: PID 1 of a sandbox, and the same on the host.
//!
//! The command's environment comes on standard input, before the command's own input, because
//! whatever stands in a container's settings is shown by the engine to whoever asks it. Signals
//! are passed on: the kernel spares a PID 1 that handles none. One thread, no runtime.

mod host;
mod launch;
mod pump;
mod surroundings;
mod tty;

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::AsFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitCode, ExitStatus},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{
        DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, set_parent_process_death_signal,
        wait,
    },
    thread::set_no_new_privs,
};

use crate::say;
use surroundings::Environment;

/// What runs, and how.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) tty: Option<tty::Size>,
    /// Whether it ends with the process that started it.
    pub(crate) with_parent: bool,
    pub(crate) argv: Vec<OsString>,
}

pub(crate) use host::{HostOptions, run as on_host};
pub(crate) use launch::{Launch, launch};

#[derive(Debug, thiserror::Error)]
enum EnterError {
    #[error("cannot keep this process to itself")]
    Dumpable(#[source] rustix::io::Errno),
    #[error("cannot give up rights")]
    Alone(#[source] rustix::io::Errno),
    #[error("cannot enter the directory of the command")]
    Directory(#[source] io::Error),
    #[error("cannot make a place for its processes")]
    Unshare(#[source] nix::Error),
    #[error("cannot receive signals")]
    Signals(#[source] nix::Error),
    #[error("cannot wait for the command")]
    Poll(#[source] rustix::io::Errno),
    #[error("the environment did not arrive whole")]
    Environment(#[source] io::Error),
    #[error("cannot let go of standard input and output")]
    LetGo(#[source] io::Error),
    #[error("cannot make a terminal")]
    Tty(#[source] io::Error),
    #[error("cannot pass the terminal's bytes on")]
    Pump(#[source] io::Error),
    #[error("cannot start a process")]
    Start(#[source] io::Error),
}

/// Runs the command to its end and takes over its exit code, 128 and the signal's number where a
/// signal ended it.
pub(crate) fn run(options: &Options) -> ExitCode {
    concluded(keep(options))
}

fn concluded(kept: Result<u8, EnterError>) -> ExitCode {
    match kept {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say::line(&say::chain(&error));
            ExitCode::from(launch::NOT_STARTED)
        }
    }
}

fn keep(options: &Options) -> Result<u8, EnterError> {
    // The command runs under the same uid, and could otherwise read and write this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(EnterError::Dumpable)?;
    let signals = signals()?;
    if options.with_parent {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(EnterError::Alone)?;
    }
    // Whatever the program's file says, it gets no more rights than this process has.
    set_no_new_privs(true).map_err(EnterError::Alone)?;
    listening().map_err(EnterError::LetGo)?;
    let environment = Environment::take(&stdin()?).map_err(EnterError::Environment)?;
    match options.tty {
        None => plain(&options.argv, environment, &signals),
        Some(size) => tty::keep(&options.argv, environment, size, &signals),
    }
}

/// Says with one byte that signals are listened to from now on. One that came earlier would be lost.
fn listening() -> io::Result<()> {
    const LISTENING: u8 = 6;
    rustix::io::write(io::stdout().as_fd(), &[LISTENING])?;
    Ok(())
}

/// Standard input without the buffer of the standard library, which would take more than it
/// was asked for and keep it from the command.
fn stdin() -> Result<File, EnterError> {
    let owned = io::stdin().as_fd().try_clone_to_owned();
    owned.map(File::from).map_err(EnterError::Environment)
}

/// What the broker may send, and the news of children.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

fn awaited() -> SigSet {
    PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect()
}

fn signals() -> Result<SignalFd, EnterError> {
    let wanted = awaited();
    wanted.thread_block().map_err(EnterError::Signals)?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(EnterError::Signals)
}

/// The command has this process's standard input, output and error for its own.
fn plain(
    argv: &[OsString],
    environment: Environment,
    signals: &SignalFd,
) -> Result<u8, EnterError> {
    let mut command = Launch::Plain.command(argv, &environment);
    let child = start(command.process_group(0))?;
    drop((command, environment));
    let_go().map_err(EnterError::LetGo)?;
    until_ended(signals, child, To::Group)
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The command and all that it started in its own group, as a terminal would.
    Group,
    /// The one process.
    Process,
}

fn until_ended(signals: &SignalFd, child: u32, to: To) -> Result<u8, EnterError> {
    loop {
        let mut wanted = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        match poll(&mut wanted, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(EnterError::Poll(error)),
        }
        if let Some(code) = attend(signals, child, to)? {
            return Ok(code);
        }
    }
}

fn start(command: &mut Command) -> Result<u32, EnterError> {
    Ok(command.spawn().map_err(EnterError::Start)?.id())
}

/// Whoever closes the command's input, or reads its output to the end, means the command, and must
/// not wait for this process too.
fn let_go() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Passes signals on and collects what has ended; the command's code once it has.
fn attend(signals: &SignalFd, child: u32, to: To) -> Result<Option<u8>, EnterError> {
    while let Some(signal) = signals.read_signal().map_err(EnterError::Signals)? {
        let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
        let known = PASSED_ON.into_iter().find(|one| *one as i32 == number);
        if let Some(signal) = known {
            pass_on(signal, child, to);
        }
    }
    let mut code = None;
    // An error means that there are no children.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if u32::try_from(pid.as_raw_nonzero().get()) == Ok(child) {
            code = Some(code_of(ExitStatus::from_raw(status.as_raw())));
        }
    }
    Ok(code)
}

fn pass_on(signal: Signal, child: u32, to: To) {
    let process = i32::try_from(child).ok().and_then(Pid::from_raw);
    let signal = rustix::process::Signal::from_named_raw(signal as i32);
    let (Some(process), Some(signal)) = (process, signal) else {
        return;
    };
    let sent = match to {
        To::Group => rustix::process::kill_process_group(process, signal),
        To::Process => rustix::process::kill_process(process, signal),
    };
    if let Err(error) = sent {
        say::line(&format!("a signal did not reach the command: {error}"));
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(255)).unwrap_or(255)
}
