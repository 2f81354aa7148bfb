//! A command on the host itself (`"mode": "host"`): no shell, no rights beyond those of the directory's
//! owner, nothing inherited, and an end to all that it starts. It is no sandbox: it sees the host.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use rumi_policy::AbsPath;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};
use tokio_util::io::ReaderStream;

use super::{
    Bounds, Ends, Environment, Outcome, Output, Reach, Signal, Size, Stopped, Worker, keep,
};

/// Where programs are looked for. No grant and no pack has a say in it.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What to run, and as whom.
#[derive(Debug)]
pub struct HostSpec {
    /// The guest's binary, which gives up rights and keeps the command.
    pub guest: PathBuf,
    /// The working directory, opened and checked.
    pub directory: OwnedFd,
    /// The directory's owner. Never 0.
    pub uid: u32,
    /// And group. Never 0.
    pub gid: u32,
    /// The program's resolved path, and its arguments.
    pub argv: Vec<String>,
    /// All of its environment.
    pub environment: Environment,
    /// The terminal it runs on, where it has one.
    pub tty: Option<Size>,
    /// How long it may run.
    pub timeout: Duration,
    /// Bytes of stdout, and as many of stderr.
    pub max_output: usize,
}

/// The file that a name or a path stands for on this host. Only root's own programs count: one that others may write would be
/// whatever they make of it.
#[must_use]
pub fn resolve(program: &str) -> Option<AbsPath> {
    let candidates: Vec<PathBuf> = if program.starts_with('/') {
        vec![program.into()]
    } else {
        PATH.iter()
            .map(|place| Path::new(place).join(program))
            .collect()
    };
    candidates.iter().find_map(|path| {
        let real = fs::canonicalize(path).ok()?;
        let metadata = fs::metadata(&real).ok()?;
        let sound = metadata.is_file()
            && metadata.uid() == 0
            && metadata.mode() & 0o022 == 0
            && metadata.mode() & 0o111 != 0;
        real.to_str().filter(|_| sound)?.parse().ok()
    })
}

/// Runs the command to its end, its bounds, or until `ending`, whichever comes first.
///
/// # Errors
/// When the guest cannot be started. A command that fails is no error.
pub async fn run(
    spec: HostSpec,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
) -> io::Result<Outcome> {
    let begin = Instant::now();
    let mut child = command(&spec).spawn()?;
    let missing = || io::Error::other("a pipe of the command is missing");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdin, stdout) = (stdin.ok_or_else(missing)?, stdout.ok_or_else(missing)?);
    let stdout = ReaderStream::new(stdout).filter_map(async |piece| piece.ok().map(Output::Stdout));
    let stderr = ReaderStream::new(stderr.ok_or_else(missing)?)
        .filter_map(async |piece| piece.ok().map(Output::Stderr));
    let reach = Process::of(&child);
    let ends = Ends {
        writer: Box::pin(stdin),
        output: stream::select(Box::pin(stdout), Box::pin(stderr)),
        exit: async { drop(child.wait().await) },
        reach,
    };
    let bounds = Bounds {
        environment: Some(spec.environment),
        framed: spec.tty.is_some(),
        timeout: spec.timeout,
        max_output: spec.max_output,
    };
    let kept = keep(ends, bounds, worker, ending).await;
    let exit_code = end(&mut child).await?;
    drop(spec.directory);
    Ok(Outcome {
        exit_code,
        truncated: kept.truncated,
        stopped: kept.reason(exit_code, false),
        place: "host".to_owned(),
        duration: begin.elapsed(),
        bytes_in: kept.bytes_in,
        bytes_out: kept.bytes_out,
    })
}

fn command(spec: &HostSpec) -> Command {
    // The handle that was checked, and not a path that may lead elsewhere by now.
    let directory = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        spec.directory.as_raw_fd()
    );
    let mut command = Command::new(&spec.guest);
    command.arg0("rumi-guest").args([
        "host",
        &directory,
        &spec.uid.to_string(),
        &spec.gid.to_string(),
    ]);
    if let Some(Size { rows, columns }) = spec.tty {
        command.args(["--tty", &format!("{rows}x{columns}")]);
    }
    command
        .arg("--")
        .args(&spec.argv)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The guest's code; it is killed first where it still runs, and all that it keeps with it.
async fn end(child: &mut Child) -> io::Result<i64> {
    use std::os::unix::process::ExitStatusExt as _;
    if child.try_wait()?.is_none() {
        child.start_kill()?;
    }
    let status = child.wait().await?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(i64::from(code.unwrap_or(-1)))
}

/// The guest's process by a handle: a number could be another process's once this one is gone.
struct Process(Option<OwnedFd>);

impl Process {
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|pid| i32::try_from(pid).ok());
        let opened = number
            .and_then(Pid::from_raw)
            .map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        Self(opened.and_then(Result::ok))
    }
}

impl Reach for Process {
    async fn signal(&mut self, signal: Signal) {
        let signal = rustix::process::Signal::from_named_raw(i32::from(signal.number()));
        if let (Some(process), Some(signal)) = (&self.0, signal)
            && let Err(error) = pidfd_send_signal(process, signal)
        {
            tracing::debug!(%error, "a signal did not reach a command");
        }
    }
}
