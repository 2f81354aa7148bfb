//! The program of a spare: how it is started, what it is listened to for, and how it ends.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{fs::FileExt as _, net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Access, MemfdFlags, Mode, OFlags, access, memfd_create, open},
    io::{DupFlags, Errno, dup2, dup3},
    process::{Pid, PidfdFlags, Resource, Rlimit, chdir, pidfd_open, setrlimit},
};
use serde_json::{Map, Value};

use super::{
    arguments::Variables,
    channel::{Channel, LONGEST},
    frames::{Call, Prepare},
    output::{Output, Stream},
};
use crate::domain;

/// The descriptor by which a program answers.
const THIRD: i32 = 3;

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("the runner's command line is empty")]
    Empty,
    #[error(
        "`working_dir` is `{directory}`, which cannot be entered ({source}); name a directory of the container in pack.json"
    )]
    Directory { directory: String, source: Errno },
    #[error(
        "the pack's image has no program `{program}` that can be run ({source}); put it there by the pack's own Dockerfile, or choose another `runner` or `base` in pack.json"
    )]
    Missing { program: String, source: Errno },
    #[error("the tool's file `{entry}` cannot be read ({source})")]
    Entry { entry: String, source: Errno },
    #[error("cannot set the limits of the tool's process")]
    Limit(#[source] Errno),
    #[error("the arguments are no JSON object")]
    Arguments(#[source] serde_json::Error),
    #[error("`{program}` cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("cannot prepare for the tool's process: {0}")]
    Descriptors(#[from] io::Error),
}

/// Puts this process where the program will be: its directory and its limits.
pub(super) fn surroundings(prepare: &Prepare) -> Result<(), ProgramError> {
    let program = prepare.command.first().ok_or(ProgramError::Empty)?;
    access(program.as_str(), Access::EXEC_OK).map_err(|source| ProgramError::Missing {
        program: program.clone(),
        source,
    })?;
    access(prepare.entry.as_str(), Access::READ_OK).map_err(|source| ProgramError::Entry {
        entry: prepare.entry.clone(),
        source,
    })?;
    if let Some(directory) = &prepare.working_dir {
        chdir(directory.as_str()).map_err(|source| ProgramError::Directory {
            directory: directory.clone(),
            source,
        })?;
    }
    let limit = |resource, most| {
        let both = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, both).map_err(ProgramError::Limit)
    };
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, prepare.limits.nofile)
}

/// Descriptor 3, which leads nowhere except for the moment in which the program is started: the
/// standard library cannot place descriptors in a child without unsafe code.
#[derive(Debug)]
pub(super) struct Reserved {
    third: OwnedFd,
    null: OwnedFd,
}

impl Reserved {
    /// Call this before anything else opens a descriptor.
    pub(super) fn reserve() -> io::Result<Self> {
        let null = || open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let third = null()?;
        if third.as_raw_fd() != THIRD {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(Self {
            third,
            null: null()?,
        })
    }

    fn lend<R>(&mut self, to: &OwnedFd, start: impl FnOnce() -> R) -> io::Result<R> {
        dup2(to, &mut self.third)?;
        let started = start();
        dup3(&self.null, &mut self.third, DupFlags::CLOEXEC)?;
        Ok(started)
    }
}

/// How the program answers.
#[derive(Debug)]
enum Third {
    /// It speaks in lines, and is spoken to.
    Talks { line: UnixStream, heard: Vec<u8> },
    /// It writes its result into a file in memory, and ends.
    Writes(File),
}

/// What becomes of a program.
#[derive(Debug)]
pub(super) enum Happening {
    /// It said a line, which is here without its end.
    Said(Vec<u8>),
    Ended(ExitStatus),
    /// The broker has something to say, or is gone.
    Broker,
}

/// The program, started in a domain of its own.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Can be read from when the child has ended.
    end: OwnedFd,
    stdout: Stream,
    stderr: Stream,
    third: Third,
}

impl Running {
    /// Starts a program that is spoken to on descriptor 3.
    pub(super) fn ahead(prepare: &Prepare, reserved: &mut Reserved) -> Result<Self, ProgramError> {
        let (line, theirs) = UnixStream::pair()?;
        let mut command = command(prepare)?;
        command.stdin(Stdio::null());
        let third = Third::Talks {
            line,
            heard: Vec::new(),
        };
        Self::start(prepare, &mut command, reserved, &theirs.into(), third)
    }

    /// Starts a program that is given its arguments at once.
    pub(super) fn at_call(
        prepare: &Prepare,
        reserved: &mut Reserved,
        call: &Call,
    ) -> Result<Self, ProgramError> {
        // Files in memory and not pipes: nobody has to write and read at the same time.
        let mut input = in_memory("arguments")?;
        input.write_all(call.args().as_bytes())?;
        io::Seek::rewind(&mut input)?;
        let result = in_memory("result")?;
        let arguments: Map<String, Value> =
            serde_json::from_str(call.args()).map_err(ProgramError::Arguments)?;
        let variables = Variables::of(&arguments);
        let mut command = command(prepare)?;
        command.stdin(input).envs(variables.set);
        let theirs = OwnedFd::from(result.try_clone()?);
        let third = Third::Writes(result);
        let mut running = Self::start(prepare, &mut command, reserved, &theirs, third)?;
        for line in variables.left_out {
            running.stderr.note(&line);
        }
        Ok(running)
    }

    fn start(
        prepare: &Prepare,
        command: &mut Command,
        reserved: &mut Reserved,
        theirs: &OwnedFd,
        third: Third,
    ) -> Result<Self, ProgramError> {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal to its own group must not reach this process where no domain forbids it.
            .process_group(0);
        let mut child = reserved
            .lend(theirs, || domain::start(command))?
            .map_err(|source| ProgramError::Start {
                program: prepare.command.first().cloned().unwrap_or_default(),
                source,
            })?;
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let limit = prepare.limits.output_bytes;
        let stdout = child.stdout.take().ok_or_else(gone)?;
        let stderr = child.stderr.take().ok_or_else(gone)?;
        Ok(Self {
            end: pidfd_open(pid.ok_or_else(gone)?, PidfdFlags::empty()).map_err(io::Error::from)?,
            stdout: Stream::new(stdout.into(), limit)?,
            stderr: Stream::new(stderr.into(), limit)?,
            child,
            third,
        })
    }

    /// Tells it the arguments of its call, in one line.
    pub(super) fn tell(&mut self, args: &str) -> io::Result<()> {
        let Third::Talks { line, .. } = &mut self.third else {
            return Ok(());
        };
        // Between the tokens of JSON a space is as good; inside of texts there are no line ends.
        let mut text = args.replace(['\n', '\r'], " ");
        text.push('\n');
        match line.write_all(text.as_bytes()) {
            // It has ended, or closed the descriptor: that is what happens next.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// Takes its output in until something happens. Of the broker's words only those that are
    /// awaited count, and its end always does.
    pub(super) fn until(&mut self, broker: &Channel, awaited: bool) -> io::Result<Happening> {
        loop {
            let ready = self.wait(broker, awaited)?;
            // Lines first: what it said before its end is its answer.
            if ready.line
                && self.listen()?
                && let Some(line) = self.line()
            {
                return Ok(Happening::Said(line));
            }
            if ready.stdout {
                self.stdout.take();
            }
            if ready.stderr {
                self.stderr.take();
            }
            if ready.ended
                && let Some(status) = self.child.try_wait()?
            {
                return Ok(Happening::Ended(status));
            }
            if ready.broker {
                return Ok(Happening::Broker);
            }
        }
    }

    fn wait(&self, broker: &Channel, awaited: bool) -> io::Result<Ready> {
        let null = PollFlags::empty();
        let asked = if awaited {
            PollFlags::IN
        } else {
            PollFlags::RDHUP
        };
        let mut wanted = vec![
            PollFd::from_borrowed_fd(broker.as_fd(), asked),
            PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN),
        ];
        let mut add = |source| {
            wanted.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
            wanted.len() - 1
        };
        let stdout = self.stdout.source().map(&mut add);
        let stderr = self.stderr.source().map(&mut add);
        let line = match &self.third {
            Third::Talks { line, .. } => Some(add(line.as_fd())),
            Third::Writes(_) => None,
        };
        match poll(&mut wanted, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |at: Option<usize>| {
            at.and_then(|at| wanted.get(at))
                .is_some_and(|fd| fd.revents() != null)
        };
        Ok(Ready {
            broker: ready(Some(0)),
            ended: ready(Some(1)),
            stdout: ready(stdout),
            stderr: ready(stderr),
            line: ready(line),
        })
    }

    /// Reads once. A line that grows too long is cut off there, and is then no answer.
    fn listen(&mut self) -> io::Result<bool> {
        let Third::Talks { line, heard } = &mut self.third else {
            return Ok(false);
        };
        let mut buffer = vec![0; 64 * 1024];
        let count = match line.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if count == 0 {
            // It closed the descriptor and goes on; nothing will come from there any more.
            let (silent, _) = UnixStream::pair()?;
            *line = silent;
            return Ok(false);
        }
        if heard.len() <= LONGEST {
            heard.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        Ok(heard.contains(&b'\n') || heard.len() > LONGEST)
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let Third::Talks { heard, .. } = &mut self.third else {
            return None;
        };
        let end = heard.iter().position(|byte| *byte == b'\n');
        let mut line: Vec<u8> = match end {
            Some(end) => heard.drain(..=end).collect(),
            None => std::mem::take(heard),
        };
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Some(line)
    }

    /// All that it printed until now.
    pub(super) fn output(&mut self) -> Output {
        Output::of(&mut self.stdout, &mut self.stderr)
    }

    /// What it wrote on descriptor 3, one byte more than may be; nothing where it speaks there instead.
    pub(super) fn result(&self) -> Option<io::Result<Vec<u8>>> {
        let Third::Writes(file) = &self.third else {
            return None;
        };
        let read = || {
            let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            let mut bytes = vec![0; size.min(LONGEST + 1)];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        Some(read())
    }
}

/// What can be read from now.
#[derive(Debug, Clone, Copy)]
struct Ready {
    broker: bool,
    ended: bool,
    stdout: bool,
    stderr: bool,
    line: bool,
}

fn command(prepare: &Prepare) -> Result<Command, ProgramError> {
    let (program, arguments) = prepare.command.split_first().ok_or(ProgramError::Empty)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(&prepare.env);
    Ok(command)
}

fn in_memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}
