//! Keeps the warm interpreter running and passes on the broker's wish for spares.
//!
//! The component's own code runs under the same uid and may kill or stop the
//! interpreter, so nothing here relies on it: every order is acknowledged or repeated.

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::backoff::Backoff;

use super::{
    descriptors::Reserved,
    interpreter::{Answer, Process, Surroundings},
    kept,
    notes::Notes,
};

pub(crate) const ORDERS: usize = 64;
/// An interpreter that does not fork for this long is stuck, or was stopped.
const STUCK: Duration = Duration::from_secs(10);
/// An interpreter that lived this long was fine; what ended it is no reason to wait.
const HEALTHY: Duration = Duration::from_secs(10);
const LAST_WORDS: Duration = Duration::from_millis(100);
/// As many in a row may be killed before they are ready; a tool may do that, but not for ever.
const KILLED: u32 = 5;

#[derive(Debug)]
pub(crate) enum Order {
    Configure(Configuration),
    MakeSpare,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) program: Program,
    /// The component's file.
    pub(crate) entry: PathBuf,
    /// Where a service begins; a spare is told by the broker.
    pub(crate) directory: Option<PathBuf>,
    /// Variables of a service.
    pub(crate) env: BTreeMap<String, String>,
}

impl Configuration {
    /// The program that runs the component.
    pub(crate) fn program(&self) -> &Path {
        match &self.program {
            Program::Python { interpreter } => interpreter,
            Program::Command { argv } => Path::new(argv.first().map_or("", String::as_str)),
        }
    }
}

/// What runs the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A warm interpreter, which forks.
    Python { interpreter: PathBuf },
    /// A program of any kind; a spare is told the same by the broker.
    Command { argv: Vec<String> },
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
    /// How many interpreters in a row were killed before they were ready.
    killed: u32,
    backoff: Backoff,
    /// When the next interpreter starts.
    due: Option<Instant>,
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
            killed: 0,
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
                Happening::Order(Some(Order::MakeSpare)) => self.make_spare(),
                Happening::Answer(answer) => self.answered(answer),
                Happening::Stuck => self.stop_stuck(),
                Happening::Ended(status) => self.ended(status).await,
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
            // An error shows as soon as something is written.
            _ = process.control.writable(), if wanted && process.listening => Happening::Writable,
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
        if self.keeps() {
            self.due = None;
            for _ in 0..std::mem::take(&mut self.wanted) {
                self.keep();
            }
        } else {
            self.due = Some(Instant::now());
        }
    }

    fn make_spare(&mut self) {
        if self.keeps() {
            self.keep();
        } else {
            self.wanted = (self.wanted + 1).min(ORDERS);
        }
    }

    /// Whether spares are programs that are kept, and no forks.
    fn keeps(&self) -> bool {
        let program = self.configuration.as_ref().map(|one| &one.program);
        matches!(program, Some(Program::Command { .. }))
    }

    fn keep(&self) {
        if let Err(error) = kept::start(&self.surroundings, &self.notes) {
            self.notes
                .spare_failed(format!("cannot start a spare: {error}"));
        }
    }

    fn answered(&mut self, answer: Option<Answer>) {
        let Some(process) = &mut self.process else {
            return;
        };
        let message = match answer {
            Some(Answer::Ready) => {
                process.proven = true;
                return;
            }
            Some(Answer::Forked) => {
                process.answer_came();
                return;
            }
            Some(Answer::Refused(message)) => {
                process.answer_came();
                message
            }
            Some(Answer::Failed(message)) if !process.proven => {
                process.complaint = Some(message);
                return;
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

    async fn ended(&mut self, status: io::Result<ExitStatus>) {
        // What it said before it ended still counts. A spare that is on its way to the broker
        // may keep the pipe open for longer than is worth waiting.
        while let Ok(answer @ Some(_)) = timeout(LAST_WORDS, self.last_answer()).await {
            self.answered(answer);
        }
        let Some(process) = self.process.take() else {
            return;
        };
        let (how, killed) = match status {
            Ok(status) => (status.to_string(), status.signal().is_some()),
            Err(error) => (error.to_string(), false),
        };
        if process.started.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        let message = process
            .complaint
            .unwrap_or_else(|| format!("the interpreter ended ({how})"));
        self.wanted = (self.wanted + process.unanswered).min(ORDERS);
        self.killed = if killed && !process.proven {
            self.killed + 1
        } else {
            0
        };
        if process.proven || (killed && self.killed < KILLED) {
            // It was ended by somebody: its successor makes the spares it owed.
            self.notes.output(message);
        } else {
            self.give_up(&message);
        }
        self.due = Some(Instant::now() + self.backoff.pause());
    }

    async fn last_answer(&mut self) -> Option<Answer> {
        self.process.as_mut()?.answers.recv().await
    }

    /// An interpreter that did not start is unlikely to start now: the broker is told.
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
        let Some(Program::Python { interpreter }) =
            self.configuration.as_ref().map(|one| one.program.clone())
        else {
            return;
        };
        match Process::start(
            &self.surroundings,
            &interpreter,
            &mut self.descriptors,
            &self.notes,
        ) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                self.give_up(&format!(
                    "cannot start the interpreter `{}`: {error}",
                    interpreter.display()
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
            Err(_) => {
                process.listening = false;
                self.stop();
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
