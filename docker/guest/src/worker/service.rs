//! Keeps the program of a service running: one at a time, started again when it ends.

use std::{io, process::ExitStatus, time::Duration};

use rumi_proto::v1::ServiceState;
use rustix::fs::{Access, access};
use tokio::{
    process::Child,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{backoff::Backoff, say};

use super::{
    interpreter::{Surroundings, forward},
    notes::Notes,
    runner::{Configuration, ORDERS, Order},
};

/// A program that lived this long was fine; what ended it is no reason to wait.
const HEALTHY: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Service {
    surroundings: Surroundings,
    notes: Notes,
    configuration: Option<Configuration>,
    running: Option<Running>,
    starts: u32,
    /// How it ended last.
    ended: String,
    backoff: Backoff,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    since: Instant,
}

enum Happening {
    Order(Option<Order>),
    Ended(io::Result<ExitStatus>),
    Due,
}

impl Service {
    /// Supervises until the sender of the orders is dropped.
    pub(crate) fn start(surroundings: Surroundings, notes: Notes) -> mpsc::Sender<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        let service = Self {
            surroundings,
            notes,
            configuration: None,
            running: None,
            starts: 0,
            ended: String::new(),
            backoff: Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE),
            due: None,
        };
        tokio::task::spawn_local(service.supervise(orders));
        sender
    }

    async fn supervise(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            match self.next(&mut orders).await {
                Happening::Order(None) => return,
                Happening::Order(Some(Order::Configure(configuration))) => {
                    self.configure(configuration).await;
                }
                Happening::Order(Some(Order::MakeSpare)) => self
                    .notes
                    .spare_failed("a service is not called, and has no spares".to_owned()),
                Happening::Ended(status) => self.ended(status),
                Happening::Due => self.launch(),
            }
        }
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Happening {
        let due = self.due;
        let when = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let running = &mut self.running;
        let ended = async {
            match running {
                Some(running) => running.child.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => Happening::Order(order),
            status = ended => Happening::Ended(status),
            () = when => Happening::Due,
        }
    }

    async fn configure(&mut self, configuration: Configuration) {
        if self.configuration.as_ref() == Some(&configuration) {
            // The broker is back; the program never left.
            return self.report();
        }
        self.configuration = Some(configuration);
        if let Some(mut running) = self.running.take()
            && let Err(error) = running.child.kill().await
        {
            self.notes
                .output(format!("the service cannot be killed: {error}"));
        }
        self.backoff.reset();
        self.due = Some(Instant::now());
    }

    fn launch(&mut self) {
        self.due = None;
        let Some(configuration) = &self.configuration else {
            return;
        };
        self.starts = self.starts.saturating_add(1);
        let spawned =
            present(configuration).and_then(|()| self.surroundings.service(configuration).spawn());
        match spawned {
            Ok(mut child) => {
                if let Some(stdout) = child.stdout.take() {
                    tokio::task::spawn_local(forward(stdout, self.notes.clone()));
                }
                if let Some(stderr) = child.stderr.take() {
                    tokio::task::spawn_local(forward(stderr, self.notes.clone()));
                }
                self.running = Some(Running {
                    child,
                    since: Instant::now(),
                });
                self.report();
            }
            Err(error) => self.wait_and_start(&format!(
                "cannot start `{}`: {}",
                configuration.program().display(),
                say::chain(&error)
            )),
        }
    }

    fn ended(&mut self, status: io::Result<ExitStatus>) {
        if let Some(running) = self.running.take()
            && running.since.elapsed() >= HEALTHY
        {
            self.backoff.reset();
        }
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.wait_and_start(&format!("the service ended ({how})"));
    }

    fn wait_and_start(&mut self, why: &str) {
        let pause = self.backoff.pause();
        why.clone_into(&mut self.ended);
        self.notes.output(format!(
            "{why}, starting it again in {} ms",
            pause.as_millis()
        ));
        self.due = Some(Instant::now() + pause);
        self.report();
    }

    fn report(&self) {
        self.notes.service(ServiceState {
            running: self.running.is_some(),
            starts: self.starts,
            ended: self.ended.clone(),
        });
    }
}

/// What confines the program is always there; whether the program is must be asked.
fn present(configuration: &Configuration) -> io::Result<()> {
    Ok(access(configuration.program(), Access::EXEC_OK)?)
}
