//! Becomes the program of a service, after it was put into its domain.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};

use crate::{domain, say};

/// The codes of a shell for a program that cannot be started.
const NOT_STARTED: u8 = 126;

#[derive(Debug)]
pub(crate) struct Options {
    /// The worker, with which the program ends.
    pub(crate) parent: Pid,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) argv: Vec<OsString>,
}

/// Returns only when it cannot.
pub(crate) fn run(options: &Options) -> ExitCode {
    let prepared = set_parent_process_death_signal(Some(Signal::KILL)).and_then(|()| {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none)
    });
    if let Err(error) = prepared {
        say::line(&format!("cannot begin: {error}"));
        return ExitCode::from(NOT_STARTED);
    }
    if getppid() != Some(options.parent) {
        // It ended before it was ours to end with.
        return ExitCode::SUCCESS;
    }
    domain::enter();
    let Some((program, arguments)) = options.argv.split_first() else {
        return ExitCode::from(NOT_STARTED);
    };
    let mut command = Command::new(program);
    if let Some(directory) = &options.directory {
        command.current_dir(directory);
    }
    let error = command.args(arguments).exec();
    say::line(&format!(
        "cannot start `{}`{}: {error}",
        program.to_string_lossy().escape_debug(),
        options
            .directory
            .as_ref()
            .map(|directory| format!(" in `{}`", directory.display()))
            .unwrap_or_default()
    ));
    ExitCode::from(NOT_STARTED)
}
