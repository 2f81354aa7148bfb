//! Keeps the warm interpreter running and passes on the broker's wish for spares.
//!
//! The component's own code runs under the same uid and may kill or stop the
//! interpreter, so nothing here relies on it: every order is acknowledged or repeated.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe,
    process::{Child, Command},
    sync::mpsc,
    time::Instant,
};

use crate::{backoff::Backoff, component::ComponentId, programs::DEFAULT_PATH};

use super::{descriptors::Reserved, lines::Lines, notes::Notes};

const ORDERS: usize = 64;
/// An interpreter that does not fork for this long is stuck, or was stopped.
const STUCK: Duration = Duration::from_secs(10);
/// An interpreter that lived this long was fine; what ended it is no reason to wait.
const HEALTHY: Duration = Duration::from_secs(10);
const HOME: &str = "/workspace";

#[derive(Debug)]
pub(crate) enum Order {
    Configure(Configuration),
    MakeSpare,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) interpreter: PathBuf,
}

/// What stays the same for a worker's life.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) component: ComponentId,
    pub(crate) socket: PathBuf,
    pub(crate) runner: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Runner {
    surroundings: Surroundings,
    descriptors: Reserved,
    notes: Notes,
    configuration: Option<Configuration>,
    process: Option<Process>,
    /// Spares that the broker asked for and no interpreter was told about.
    wanted: usize,
    backoff: Backoff,
    /// When the next interpreter starts.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    control: pipe::Sender,
    answers: mpsc::Receiver<Answer>,
    /// False after the last answer was read.
    answering: bool,
    started: Instant,
    /// Orders without an answer, and since when the oldest waits.
    unanswered: usize,
    waiting_since: Instant,
    /// It has forked at least once.
    proven: bool,
}

#[derive(Debug)]
enum Answer {
    /// An order was carried out.
    Forked,
    /// An order was not carried out.
    Refused(String),
    /// A spare that was forked came to nothing.
    Failed(String),
}

enum Happening {
    Order(Option<Order>),
    Answer(Option<Answer>),
    Ended(io::Result<ExitStatus>),
    Stuck,
    Due,
    /// The interpreter can take orders.
    Writable,
}

impl Runner {
    /// Supervises until the sender of the orders is dropped.
    pub(crate) fn start(
        surroundings: Surroundings,
        descriptors: Reserved,
        notes: Notes,
    ) -> mpsc::Sender<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        let runner = Self {
            surroundings,
            descriptors,
            notes,
            configuration: None,
            process: None,
            wanted: 0,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            due: None,
        };
        tokio::task::spawn_local(runner.supervise(orders));
        sender
    }

    async fn supervise(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            match self.next(&mut orders).await {
                Happening::Order(None) => return,
                Happening::Order(Some(Order::Configure(configuration))) => {
                    self.configure(configuration);
                }
                Happening::Order(Some(Order::MakeSpare)) => {
                    self.wanted = (self.wanted + 1).min(ORDERS);
                }
                Happening::Answer(answer) => self.answered(answer),
                Happening::Stuck => self.stop_stuck(),
                Happening::Ended(status) => self.ended(status),
                Happening::Due => self.launch(),
                Happening::Writable => self.pass_on(),
            }
        }
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Happening {
        let Some(process) = &mut self.process else {
            return tokio::select! {
                order = orders.recv() => Happening::Order(order),
                () = until(self.due) => Happening::Due,
            };
        };
        let wanted = self.wanted > 0;
        let stuck = (process.unanswered > 0).then(|| process.waiting_since + STUCK);
        tokio::select! {
            order = orders.recv() => Happening::Order(order),
            answer = process.answers.recv(), if process.answering => Happening::Answer(answer),
            // An error shows again as soon as something is written.
            _ = process.control.writable(), if wanted => Happening::Writable,
            status = process.child.wait() => Happening::Ended(status),
            () = until(stuck) => Happening::Stuck,
        }
    }

    fn configure(&mut self, configuration: Configuration) {
        if self.configuration.as_ref() == Some(&configuration) {
            return; // The broker is back; the interpreter never left.
        }
        self.configuration = Some(configuration);
        if let Some(process) = self.process.take() {
            // Dropping it kills it; its successor makes the spares it owed.
            self.wanted = (self.wanted + process.unanswered).min(ORDERS);
        }
        self.backoff.reset();
        self.due = Some(Instant::now());
    }

    fn answered(&mut self, answer: Option<Answer>) {
        let Some(process) = &mut self.process else {
            return;
        };
        let message = match answer {
            Some(Answer::Forked) => {
                process.proven = true;
                process.answer_came();
                return;
            }
            Some(Answer::Refused(message)) => {
                process.answer_came();
                message
            }
            Some(Answer::Failed(message)) => message,
            None => {
                process.answering = false;
                return;
            }
        };
        self.notes.spare_failed(message);
    }

    fn stop_stuck(&mut self) {
        self.notes.output(format!(
            "the interpreter did not answer for {} s, killing it",
            STUCK.as_secs()
        ));
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.waiting_since = Instant::now();
            if let Err(error) = process.child.start_kill() {
                self.notes
                    .output(format!("the interpreter cannot be killed: {error}"));
            }
        }
    }

    fn ended(&mut self, status: io::Result<ExitStatus>) {
        // What it said before it ended still counts.
        while let Some(answer) = self.last_answer() {
            self.answered(Some(answer));
        }
        let Some(process) = self.process.take() else {
            return;
        };
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if process.started.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        let message = format!("the interpreter ended ({how})");
        if process.proven {
            // It worked and was ended: its successor makes the spares it owed.
            self.wanted = (self.wanted + process.unanswered).min(ORDERS);
            self.notes.output(message);
        } else {
            self.wanted += process.unanswered;
            self.give_up(&message);
        }
        self.due = Some(Instant::now() + self.backoff.pause());
    }

    fn last_answer(&mut self) -> Option<Answer> {
        self.process.as_mut()?.answers.try_recv().ok()
    }

    /// An interpreter that never made a spare is unlikely to make the next: the broker is told.
    fn give_up(&mut self, message: &str) {
        if self.wanted == 0 {
            self.notes.output(message.to_owned());
        }
        for _ in 0..std::mem::take(&mut self.wanted) {
            self.notes.spare_failed(message.to_owned());
        }
    }

    fn launch(&mut self) {
        self.due = None;
        let Some(configuration) = self.configuration.clone() else {
            return;
        };
        match self.spawn(&configuration.interpreter) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                self.give_up(&format!(
                    "cannot start the interpreter `{}`: {error}",
                    configuration.interpreter.display()
                ));
                self.due = Some(Instant::now() + self.backoff.pause());
            }
        }
    }

    fn pass_on(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        match process.control.try_write(b"s") {
            Ok(_) => {
                if process.unanswered == 0 {
                    process.waiting_since = Instant::now();
                }
                self.wanted -= 1;
                process.unanswered += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Nobody reads any more: whatever became of it, a new one is needed. Its end
            // is what happens next, and the order goes to its successor.
            Err(_) => self.stop(),
        }
    }

    fn spawn(&mut self, interpreter: &Path) -> io::Result<Process> {
        let (control_end, control) = io::pipe()?;
        let (report, report_end) = io::pipe()?;
        let mut command = self.command(interpreter);
        let mut child = self.descriptors.lend(
            &OwnedFd::from(control_end),
            &OwnedFd::from(report_end),
            || command.spawn(),
        )?;
        let (sender, answers) = mpsc::channel(ORDERS);
        tokio::task::spawn_local(read_answers(
            pipe::Receiver::from_owned_fd(report.into())?,
            sender,
        ));
        if let Some(stdout) = child.stdout.take() {
            tokio::task::spawn_local(forward(stdout, self.notes.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::task::spawn_local(forward(stderr, self.notes.clone()));
        }
        Ok(Process {
            child,
            control: pipe::Sender::from_owned_fd(control.into())?,
            answers,
            answering: true,
            started: Instant::now(),
            unanswered: 0,
            waiting_since: Instant::now(),
            proven: false,
        })
    }

    fn command(&self, interpreter: &Path) -> Command {
        let mut command = Command::new(interpreter);
        // Without `-S` the interpreter would run code of the pack before it is told to.
        command
            .args(["-I", "-S"])
            .arg(&self.surroundings.runner)
            .env("RUMI_SOCKET", &self.surroundings.socket)
            .env("RUMI_COMPONENT", self.surroundings.component.as_str())
            .env("HOME", HOME)
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

impl Process {
    fn answer_came(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.waiting_since = Instant::now();
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn read_lines(mut source: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
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

async fn forward(source: impl AsyncRead + Unpin, notes: Notes) {
    read_lines(source, |line| notes.output(line)).await;
}

async fn read_answers(source: pipe::Receiver, answers: mpsc::Sender<Answer>) {
    read_lines(source, |line| {
        let answer = match line.split_once(' ') {
            Some(("failed", message)) => Answer::Failed(message.to_owned()),
            Some(("refused", message)) => Answer::Refused(message.to_owned()),
            _ => Answer::Forked,
        };
        if answers.try_send(answer).is_err() {
            // The supervisor is done with this interpreter, or a flood of failures outran it;
            // an order without an answer is repeated in the end.
        }
    })
    .await;
}
