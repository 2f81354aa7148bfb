//! A command on the host itself: its rights are given up, and a PID namespace of its own ends all
//! that it starts. It is no sandbox.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::{EnterError, Options, To, concluded, let_go, signals, start, tty::Size, until_ended};

/// What runs, and as whom.
#[derive(Debug)]
pub(crate) struct HostOptions {
    /// By way of the broker's handle, which was checked.
    pub(crate) directory: PathBuf,
    /// Never 0.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) keep: Options,
}

/// Runs the keeper of the command as PID 1 of a namespace, under the uid, and takes over its code. Whoever kills
/// this process kills the keeper, and the kernel all the rest.
pub(crate) fn run(options: &HostOptions) -> ExitCode {
    concluded(guard(options))
}

fn guard(options: &HostOptions) -> Result<u8, EnterError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(EnterError::Alone)?;
    let signals = signals()?;
    std::env::set_current_dir(&options.directory).map_err(EnterError::Directory)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(EnterError::Alone)?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(EnterError::Unshare)?;
    let mut command = keeper(&options.keep);
    // Changing both from root also lets go of all supplementary groups.
    command.env_clear().uid(options.uid).gid(options.gid);
    let child = start(&mut command)?;
    let_go().map_err(EnterError::LetGo)?;
    until_ended(&signals, child, To::Process)
}

fn keeper(options: &Options) -> Command {
    let mut words: Vec<OsString> = vec!["enter".into(), "--with-parent".into()];
    if let Some(Size { rows, columns }) = options.tty {
        words.extend(["--tty".into(), format!("{rows}x{columns}").into()]);
    }
    words.push("--".into());
    words.extend(options.argv.iter().cloned());
    let mut command = Command::new("/proc/self/exe");
    command.arg0("rumi-guest").args(words);
    command
}
