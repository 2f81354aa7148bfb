//! The last step before the command: what only the process itself can do.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode},
};

use rustix::process::{ioctl_tiocsctty, setsid};

use super::{Environment, awaited};
use crate::say;

/// The code of a shell for a program that is not there, and for one that cannot be started.
const NOT_FOUND: u8 = 127;
pub(super) const NOT_STARTED: u8 = 126;

/// How the command is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launch {
    Plain,
    /// In a session of its own, on the terminal that is its standard input.
    Session,
}

impl Launch {
    /// The command by way of this very binary, with this environment and nothing else.
    pub(super) fn command(self, argv: &[OsString], environment: &Environment) -> Command {
        // The link finds this file even when the host has replaced the binary since.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("rumi-guest").arg(match self {
            Self::Plain => "launch",
            Self::Session => "launch-session",
        });
        command.args(argv);
        environment.give_to(&mut command);
        command
    }
}

/// Becomes the command.
pub(crate) fn launch(how: Launch, argv: &[OsString]) -> ExitCode {
    if let Err(error) = prepare(how) {
        say::line(&format!("cannot begin: {error}"));
        return ExitCode::from(NOT_STARTED);
    }
    let Some((program, arguments)) = argv.split_first() else {
        return ExitCode::from(NOT_FOUND);
    };
    let error = Command::new(program).args(arguments).exec();
    say::line(&format!(
        "cannot start `{}`: {error}",
        program.to_string_lossy().escape_debug()
    ));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_STARTED
    })
}

fn prepare(how: Launch) -> io::Result<()> {
    if how == Launch::Session {
        setsid()?;
        ioctl_tiocsctty(io::stdin().as_fd())?;
    }
    // The keeper's own; a command that began with them blocked could not be asked to end.
    awaited().thread_unblock()?;
    Ok(())
}
