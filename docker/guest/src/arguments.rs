//! The command line.

use std::{ffi::OsString, path::PathBuf};

use rustix::process::Pid;

use crate::{
    component::{ComponentId, NotAComponent},
    confined, enter,
};

const USAGE: &str = "usage: rumi-guest init [--worker COMPONENT [WORKER OPTIONS]] | \
    worker COMPONENT [--socket PATH] [--runner PATH] [--scratch DIR]... [--code] | code SOCKET | programs | enter [--tty ROWSxCOLUMNS] [--with-parent] -- PROGRAM [ARGUMENT]... | \
    host DIRECTORY UID GID [--tty ROWSxCOLUMNS] -- PROGRAM [ARGUMENT]...";

#[derive(Debug)]
pub(crate) enum Command {
    /// PID 1; `worker` holds the arguments of the worker that it looks after.
    Init {
        worker: Option<Vec<OsString>>,
    },
    Worker(WorkerOptions),
    Programs,
    /// Keeps one run of ad-hoc code.
    Code(PathBuf),
    /// Keeps one command; the environment comes on standard input.
    Enter(enter::Options),
    /// The same on the host itself, as another user.
    Host(enter::HostOptions),
    /// Waits for one call; started by a worker.
    Spare {
        socket: PathBuf,
    },
    /// Becomes the program of a service; started by a worker.
    Confined(confined::Options),
    /// Becomes this command; nobody but the guest itself says so.
    Launch(enter::Launch, Vec<OsString>),
}

#[derive(Debug)]
pub(crate) struct WorkerOptions {
    pub(crate) component: ComponentId,
    pub(crate) socket: PathBuf,
    /// The Python runner's file.
    pub(crate) runner: PathBuf,
    /// What is emptied between calls.
    pub(crate) scratch: Vec<PathBuf>,
    /// Whether it runs ad-hoc code, instead of a component's file.
    pub(crate) code: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("`{0}` is not a command; {USAGE}")]
    UnknownCommand(String),
    #[error("`{0}` is not an option; {USAGE}")]
    UnknownOption(String),
    #[error("{0} is missing; {USAGE}")]
    Missing(&'static str),
    #[error(transparent)]
    Component(#[from] NotAComponent),
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let command = arguments.next().ok_or(UsageError::Missing("a command"))?;
    match command.to_str() {
        Some("init") => parse_init(arguments),
        Some("worker") => parse_worker(arguments).map(Command::Worker),
        Some("programs") => match arguments.next() {
            None => Ok(Command::Programs),
            Some(other) => Err(UsageError::UnknownOption(shown(&other))),
        },
        Some("code") => match (arguments.next(), arguments.next()) {
            (Some(socket), None) => Ok(Command::Code(socket.into())),
            (None, _) => Err(UsageError::Missing("the socket")),
            (_, Some(other)) => Err(UsageError::UnknownOption(shown(&other))),
        },
        Some("enter") => parse_enter(arguments).map(Command::Enter),
        Some("host") => parse_host(arguments).map(Command::Host),
        Some("spare") => {
            let socket = arguments.next().ok_or(UsageError::Missing("the socket"))?;
            match arguments.next() {
                None => Ok(Command::Spare {
                    socket: socket.into(),
                }),
                Some(other) => Err(UsageError::UnknownOption(shown(&other))),
            }
        }
        Some("confined") => parse_confined(arguments).map(Command::Confined),
        Some("launch") => Ok(Command::Launch(enter::Launch::Plain, arguments.collect())),
        Some("launch-session") => Ok(Command::Launch(enter::Launch::Session, arguments.collect())),
        _ => Err(UsageError::UnknownCommand(shown(&command))),
    }
}

fn parse_init(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    match arguments.next() {
        None => Ok(Command::Init { worker: None }),
        Some(option) if option == "--worker" => {
            let worker: Vec<OsString> = arguments.collect();
            // Checked here, where a mistake ends the container at once instead of in a restart loop.
            parse_worker(worker.iter().cloned())?;
            Ok(Command::Init {
                worker: Some(worker),
            })
        }
        Some(other) => Err(UsageError::UnknownOption(shown(&other))),
    }
}

fn parse_enter(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<enter::Options, UsageError> {
    let (mut tty, mut with_parent) = (None, false);
    while let Some(option) = arguments.next() {
        match option.to_str() {
            Some("--tty") => {
                let size = arguments
                    .next()
                    .ok_or(UsageError::Missing("an option's value"))?;
                let parsed = size.to_str().and_then(|size| size.parse().ok());
                tty = Some(parsed.ok_or_else(|| UsageError::UnknownOption(shown(&size)))?);
            }
            Some("--with-parent") => with_parent = true,
            Some("--") => {
                let argv: Vec<OsString> = arguments.collect();
                if argv.is_empty() {
                    return Err(UsageError::Missing("the program"));
                }
                return Ok(enter::Options {
                    tty,
                    with_parent,
                    argv,
                });
            }
            _ => return Err(UsageError::UnknownOption(shown(&option))),
        }
    }
    Err(UsageError::Missing("`--`"))
}

fn parse_host(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<enter::HostOptions, UsageError> {
    let directory = arguments
        .next()
        .ok_or(UsageError::Missing("the directory"))?;
    let mut id = |what| {
        let text = arguments.next().ok_or(UsageError::Missing(what))?;
        let id = text.to_str().and_then(|text| text.parse::<u32>().ok());
        // Root's rights are what this is there to give up.
        id.filter(|id| *id > 0)
            .ok_or_else(|| UsageError::UnknownOption(shown(&text)))
    };
    let (uid, gid) = (id("the uid")?, id("the gid")?);
    Ok(enter::HostOptions {
        directory: directory.into(),
        uid,
        gid,
        keep: parse_enter(arguments)?,
    })
}

fn parse_confined(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<confined::Options, UsageError> {
    let parent = arguments.next().ok_or(UsageError::Missing("the parent"))?;
    let pid = parent.to_str().and_then(|text| text.parse().ok());
    let pid = pid.and_then(Pid::from_raw);
    let mut options = confined::Options {
        parent: pid.ok_or_else(|| UsageError::UnknownOption(shown(&parent)))?,
        directory: None,
        argv: Vec::new(),
    };
    while let Some(option) = arguments.next() {
        match option.to_str() {
            Some("--in") => {
                let value = arguments.next();
                options.directory = Some(value.ok_or(UsageError::Missing("a directory"))?.into());
            }
            Some("--") => {
                options.argv = arguments.collect();
                return match options.argv.first() {
                    Some(_) => Ok(options),
                    None => Err(UsageError::Missing("the program")),
                };
            }
            _ => return Err(UsageError::UnknownOption(shown(&option))),
        }
    }
    Err(UsageError::Missing("`--`"))
}

fn parse_worker(
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<WorkerOptions, UsageError> {
    let component: ComponentId = arguments
        .next()
        .ok_or(UsageError::Missing("the component"))?
        .to_string_lossy()
        .parse()?;
    // The socket follows from the component: a container's environment is shared by its components.
    let mut options = WorkerOptions {
        socket: component.socket(),
        component,
        runner: PathBuf::from("/usr/lib/rumi/python/rumi_runner.py"),
        scratch: Vec::new(),
        code: false,
    };
    while let Some(option) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(UsageError::Missing("an option's value"))
        };
        match option.to_str() {
            Some("--socket") => options.socket = value()?.into(),
            Some("--runner") => options.runner = value()?.into(),
            Some("--scratch") => options.scratch.push(value()?.into()),
            Some("--code") => options.code = true,
            _ => return Err(UsageError::UnknownOption(shown(&option))),
        }
    }
    if options.scratch.is_empty() {
        options.scratch = vec![PathBuf::from("/tmp"), PathBuf::from("/dev/shm")];
    }
    Ok(options)
}

fn shown(text: &OsString) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let lines = [
            "",
            "start",
            "programs x",
            "code",
            "code /s x",
            "init x",
            "init --worker",
            "init --worker nonsense",
            "worker",
            "worker a:tool:b --socket",
            "worker a:tool:b --other x",
            "enter",
            "enter ls",
            "enter --",
            "enter --tty 1 -- ls",
            "host / 0 1 -- ls",
            "host / 1 0 -- ls",
            "host / 1 -- ls",
            "spare",
            "spare /s x",
            "confined",
            "confined x -- ls",
            "confined 1",
            "confined 1 --",
            "confined 1 --in",
            "confined 1 ls",
        ];
        for line in lines {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_worker_knows_its_places() {
        let Ok(Command::Worker(options)) = parsed("worker a:tool:b") else {
            panic!("not a worker");
        };
        assert_eq!(options.socket, PathBuf::from("/run/rumi/a:tool:b.sock"));
        assert_eq!(
            options.scratch,
            [PathBuf::from("/tmp"), PathBuf::from("/dev/shm")]
        );
        let Ok(Command::Worker(options)) = parsed("worker a:tool:b --socket /s --scratch /x")
        else {
            panic!("not a worker");
        };
        assert_eq!(options.socket, PathBuf::from("/s"));
        assert_eq!(options.scratch, [PathBuf::from("/x")]);
    }
}
