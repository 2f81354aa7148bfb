//! One warm interpreter: how it is started and what it says.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe,
    process::{Child, Command},
    sync::mpsc,
    time::Instant,
};

use crate::{component::ComponentId, programs::DEFAULT_PATH};

use super::{
    descriptors::Reserved,
    lines::Lines,
    notes::Notes,
    runner::{Configuration, Program},
};

/// Answers on their way to the supervisor.
const ANSWERS: usize = 64;
const HOME: &str = "/workspace";
/// Without `-S` the interpreter would run code of the pack before it is told to.
const PYTHON: [&str; 2] = ["-I", "-S"];

/// What stays the same for a worker's life.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) component: ComponentId,
    pub(crate) socket: PathBuf,
    pub(crate) runner: PathBuf,
    /// By which programs find the proxy.
    pub(crate) network: Vec<(&'static str, String)>,
}

impl Surroundings {
    /// The warm interpreter of a tool.
    fn command(&self, interpreter: &Path) -> Command {
        self.python(interpreter, &self.runner)
    }

    /// The program of a service, confined before it can run any code of the pack.
    pub(crate) fn service(&self, configuration: &Configuration) -> Command {
        let worker = std::process::id().to_string();
        let mut command = self.guest();
        command.args(["confined", &worker]);
        if let Some(directory) = &configuration.directory {
            command.arg("--in").arg(directory);
        }
        command.arg("--").envs(&configuration.env);
        match &configuration.program {
            Program::Python { interpreter } => {
                let runner = self.runner.with_file_name("rumi_service.py");
                command.arg(interpreter).args(PYTHON).arg(runner);
                command.arg(&configuration.entry).arg(worker);
            }
            Program::Command { argv } => {
                command.args(argv);
            }
        }
        command
    }

    /// A spare that keeps the tool's program.
    pub(crate) fn spare(&self) -> Command {
        let mut command = self.guest();
        command.arg("spare").arg(&self.socket).stdout(Stdio::null());
        command
    }

    fn guest(&self) -> Command {
        // The link finds this file even when the host has replaced the binary since.
        let mut command = self.program(Path::new("/proc/self/exe"));
        command.arg0("rumi-guest");
        command
    }

    fn python(&self, interpreter: &Path, runner: &Path) -> Command {
        let mut command = self.program(interpreter);
        command.args(PYTHON).arg(runner);
        command
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("RUMI_SOCKET", &self.socket)
            .env("RUMI_COMPONENT", self.component.as_str())
            .env("HOME", HOME)
            .envs(self.network.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in [("PATH", DEFAULT_PATH), ("LANG", "C.UTF-8")] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        let home = Path::new(HOME);
        command.current_dir(if home.is_dir() { home } else { Path::new("/") });
        command
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) control: pipe::Sender,
    pub(crate) answers: mpsc::Receiver<Answer>,
    /// False after an order could not be written.
    pub(crate) listening: bool,
    /// False after the last answer was read.
    pub(crate) answering: bool,
    pub(crate) started: Instant,
    /// Orders without an answer, and since when the oldest waits.
    pub(crate) unanswered: usize,
    pub(crate) waiting_since: Instant,
    /// It got as far as waiting for orders.
    pub(crate) proven: bool,
    /// What it said instead of getting so far.
    pub(crate) complaint: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// The interpreter is warm and waits for orders.
    Ready,
    /// An order was carried out.
    Forked,
    /// An order was not carried out.
    Refused(String),
    /// A spare that was forked came to nothing.
    Failed(String),
}

impl Process {
    /// Starts an interpreter.
    pub(crate) fn start(
        surroundings: &Surroundings,
        interpreter: &Path,
        descriptors: &mut Reserved,
        notes: &Notes,
    ) -> io::Result<Self> {
        let (control_end, control) = io::pipe()?;
        let (report, report_end) = io::pipe()?;
        let mut command = surroundings.command(interpreter);
        let mut child = descriptors.lend(
            &OwnedFd::from(control_end),
            &OwnedFd::from(report_end),
            || command.spawn(),
        )?;
        let (sender, answers) = mpsc::channel(ANSWERS);
        tokio::task::spawn_local(read_answers(
            pipe::Receiver::from_owned_fd(report.into())?,
            sender,
        ));
        if let Some(stdout) = child.stdout.take() {
            tokio::task::spawn_local(forward(stdout, notes.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::task::spawn_local(forward(stderr, notes.clone()));
        }
        Ok(Self {
            child,
            control: pipe::Sender::from_owned_fd(control.into())?,
            answers,
            listening: true,
            answering: true,
            started: Instant::now(),
            unanswered: 0,
            waiting_since: Instant::now(),
            proven: false,
            complaint: None,
        })
    }

    pub(crate) fn answer_came(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.waiting_since = Instant::now();
    }
}

pub(crate) async fn read_lines(mut source: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut lines = Lines::default();
    let mut buffer = [0; 1024];
    // An error is as good as an end: the other side is gone.
    while let Ok(count) = source.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        lines.feed(buffer.get(..count).unwrap_or_default(), &mut take);
    }
    if let Some(line) = lines.finish() {
        take(line);
    }
}

pub(crate) async fn forward(source: impl AsyncRead + Unpin, notes: Notes) {
    read_lines(source, |line| notes.output(line)).await;
}

async fn read_answers(source: pipe::Receiver, answers: mpsc::Sender<Answer>) {
    read_lines(source, |line| {
        let answer = match line.split_once(' ') {
            Some(("failed", message)) => Answer::Failed(message.to_owned()),
            Some(("refused", message)) => Answer::Refused(message.to_owned()),
            Some(("forked", _)) => Answer::Forked,
            _ => Answer::Ready,
        };
        if answers.try_send(answer).is_err() {
            // The supervisor is done with this interpreter, or a flood of failures outran it;
            // an order without an answer is repeated in the end.
        }
    })
    .await;
}
