//! A granted command under its own name: `git` on the PATH of a pack is this binary, which asks the
//! broker to run `git` in its sandbox and passes everything on.

mod input;
mod place;
mod wire;

use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::{Value, json};

use crate::say;
use wire::{Said, Wire};

/// Where the broker puts the names of a component's commands.
const NAMES: &str = "/run/rumi/bin";
/// As a shell says that a program may not, or cannot, be started.
const REFUSED: u8 = 126;
const NOT_FOUND: u8 = 127;
/// As a shell says that nobody reads what a program writes.
const UNREAD: u8 = 141;

#[derive(Debug, thiserror::Error)]
enum ProgramError {
    #[error("RUMI_SOCKET is not set, and `{0}` does not say whose command it is")]
    Socket(String),
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    #[error("an argument is not valid UTF-8, and commands are asked for as text")]
    Argument,
    #[error("the broker cannot be reached at `{path}`")]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Answer(String),
    #[error("cannot use the terminal")]
    Terminal(#[source] rustix::io::Errno),
    #[error("cannot pass signals on")]
    Signals(#[source] nix::Error),
    #[error("the connection to the broker ended before the command did")]
    Lost(#[source] io::Error),
}

/// A command of this name was asked for, and not the guest itself.
#[derive(Debug)]
pub(crate) struct Call {
    name: OsString,
    /// How the kernel was told to start this binary; it names the component.
    path: PathBuf,
}

/// Whether this process was started as one of the commands.
pub(crate) fn called(first: Option<&OsStr>) -> Option<Call> {
    let started = rustix::param::linux_execfn();
    let path = PathBuf::from(OsStr::new(started.to_str().unwrap_or_default()));
    let name = if path.starts_with(NAMES) {
        path.file_name()
    } else {
        Path::new(first?).file_name()
    };
    let name = name.filter(|name| *name != "rumi-guest" && *name != "guest")?;
    // A test's build of the guest has names of its own.
    let ours = name
        .to_str()
        .is_some_and(|name| name.starts_with("rumi-guest"));
    let name = name.to_owned();
    (!ours).then_some(Call { name, path })
}

/// Runs the command and takes over its exit code.
pub(crate) fn run(call: &Call, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = call.name.to_string_lossy().into_owned();
    match converse(call, arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say::under(&name, &say::chain(&error));
            ExitCode::from(REFUSED)
        }
    }
}

fn converse(call: &Call, arguments: impl Iterator<Item = OsString>) -> Result<u8, ProgramError> {
    let text = |word: OsString| word.into_string().map_err(|_| ProgramError::Argument);
    let mut argv = vec![text(call.name.clone())?];
    for argument in arguments {
        argv.push(text(argument)?);
    }
    let directory = place::directory()?;
    let terminal = Raw::enter()?;
    let mut start = json!({"argv": argv, "directory": directory});
    if let (Some(_), Some(start)) = (&terminal, start.as_object_mut()) {
        start.insert("tty".to_owned(), size());
    }
    let signals = input::signals().map_err(ProgramError::Signals)?;
    let wire = Wire::open(&socket(call)?)?;
    let wire = Arc::new(wire);
    wire.send(b'S', start.to_string().as_bytes())
        .map_err(ProgramError::Lost)?;
    input::pass_signals(Arc::clone(&wire), signals, terminal.is_some());
    input::pass_input(Arc::clone(&wire));
    let code = listen(&wire, &argv);
    drop(terminal);
    code
}

fn socket(call: &Call) -> Result<PathBuf, ProgramError> {
    if let Some(path) = std::env::var_os("RUMI_SOCKET").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    // Started with an environment of its own, as careful programs do.
    let component = call.path.parent().and_then(Path::file_name);
    let known = call.path.starts_with(NAMES);
    component
        .and_then(OsStr::to_str)
        .filter(|_| known)
        // A colon would end the directory's name in PATH.
        .map(|component| component.replace('.', ":"))
        .map(|component| PathBuf::from(format!("/run/rumi/{component}.sock")))
        .ok_or_else(|| ProgramError::Socket(call.path.display().to_string()))
}

/// Passes on what the command says, until it has ended.
fn listen(wire: &Wire, argv: &[String]) -> Result<u8, ProgramError> {
    let name = argv.first().map_or("", String::as_str);
    loop {
        let written = match wire.next().map_err(ProgramError::Lost)? {
            Said::Stdout(bytes) => give(&mut io::stdout(), &bytes),
            Said::Stderr(bytes) => give(&mut io::stderr(), &bytes),
            Said::Taken => Ok(()),
            Said::Exit(exit) => return Ok(ended(name, &exit)),
            Said::Refused(refusal) => return Ok(refused(name, &refusal)),
        };
        if written.is_err() {
            // The command learns it by the end of the connection.
            return Ok(UNREAD);
        }
    }
}

fn give(to: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn ended(name: &str, exit: &Value) -> u8 {
    let word = |key: &str| exit.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason = word("stoppedReason").trim_start_matches("STOPPED_REASON_");
    if !matches!(reason, "" | "EXITED" | "SIGNAL") {
        say::under(name, &format!("it was ended: {}", reason.to_lowercase()));
    }
    let code = exit.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
    u8::try_from(code).unwrap_or(255)
}

fn refused(name: &str, refusal: &Value) -> u8 {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let denial = refusal.pointer("/details/0/debug");
    let record = text(denial.and_then(|denial| denial.get("record")));
    let reason = text(denial.and_then(|denial| denial.get("reason")));
    let message = text(refusal.get("message"));
    if record.is_empty() {
        say::under(name, &message);
    } else {
        say::under(name, &format!("{message} ({reason}, record {record})"));
    }
    if refusal.get("code").and_then(Value::as_str) == Some("not_found") {
        NOT_FOUND
    } else {
        REFUSED
    }
}

/// The terminal of this process, which passes everything on as it comes until this is dropped.
struct Raw(Termios);

impl Raw {
    /// Where both ends are one: what is piped on must not be written as for a screen.
    fn enter() -> Result<Option<Self>, ProgramError> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin()).map_err(ProgramError::Terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(ProgramError::Terminal)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if tcsetattr(io::stdin(), OptionalActions::Drain, &self.0).is_err() {
            say::line(&"the terminal stays as the command left it; `reset` mends it");
        }
    }
}

fn size() -> Value {
    let size = tcgetwinsize(io::stdin());
    let (rows, columns) = size.map_or((24, 80), |size| (size.ws_row, size.ws_col));
    json!({"rows": rows, "columns": columns})
}
