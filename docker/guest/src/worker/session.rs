//! One attachment to the broker, from the hello to the end of the stream.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use rumi_proto::v1::{
    Configure, Output, Wipe, Wiped, WorkerCommand, WorkerEvent, WorkerHello,
    worker_client::WorkerClient, worker_command::Command, worker_event::Event,
};
use rustix::process::geteuid;
use tokio::{net::UnixStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::{arguments::WorkerOptions, network, say, wipe};

use super::{
    code,
    descriptors::Reserved,
    interpreter::Surroundings,
    notes::{self, Notes},
    runner::{Configuration, Order, Program, Runner},
    service::Service,
};

/// Events on their way to the broker.
const OUTGOING: usize = 64;
/// A wipe that takes longer answers all the same; the next one goes on.
const WIPE_TIME: Duration = Duration::from_secs(5);

/// What outlives a session: the runner, and what it said in the meantime.
#[derive(Debug)]
pub(crate) struct Worker {
    options: WorkerOptions,
    orders: mpsc::Sender<Order>,
    notes: Notes,
    pending: mpsc::Receiver<WorkerEvent>,
}

#[derive(Debug)]
pub(crate) struct Ended {
    /// The broker had accepted this worker.
    pub(crate) configured: bool,
    pub(crate) reason: SessionError,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("cannot reach the broker at `{socket}`")]
    Connect {
        socket: PathBuf,
        #[source]
        source: tonic::transport::Error,
    },
    #[error("the broker ended the attachment: {0}")]
    Refused(String),
    #[error("the broker ended the attachment")]
    Closed,
    #[error("the broker configured `{0}`, which is not this component")]
    OtherComponent(String),
    #[error("the runner's supervisor is gone")]
    NoRunner,
}

impl Worker {
    pub(crate) async fn new(options: WorkerOptions, descriptors: Reserved) -> Self {
        let (mut notes, pending) = notes::queue();
        let lines = notes.log();
        let surroundings = Surroundings {
            component: options.component.clone(),
            socket: options.socket.clone(),
            runner: options.runner.clone(),
            network: network::start(&options.socket, &notes, lines).await,
        };
        let orders = if options.component.is_service() {
            // Its program is given nothing but the three descriptors of every program.
            drop(descriptors);
            Service::start(surroundings, notes.clone())
        } else if options.code {
            drop(descriptors);
            code::start(surroundings, notes.clone())
        } else {
            Runner::start(surroundings, descriptors, notes.clone())
        };
        Self {
            options,
            orders,
            notes,
            pending,
        }
    }

    pub(crate) async fn session(&mut self) -> Ended {
        let mut configured = false;
        let reason = match self.attached(&mut configured).await {
            Ok(()) => SessionError::Closed,
            Err(reason) => reason,
        };
        Ended { configured, reason }
    }

    async fn attached(&mut self, configured: &mut bool) -> Result<(), SessionError> {
        let channel = connect(self.options.socket.clone()).await?;
        let (events, outgoing) = mpsc::channel(OUTGOING);
        let hello = Event::Hello(WorkerHello {
            guest_version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        send(&events, hello)?;
        let refused = |status: tonic::Status| SessionError::Refused(status.to_string());
        let mut commands = WorkerClient::new(channel)
            .attach(ReceiverStream::new(outgoing))
            .await
            .map_err(refused)?
            .into_inner();
        loop {
            tokio::select! {
                command = commands.message() => match command.map_err(refused)? {
                    Some(command) => self.obey(command, &events, configured)?,
                    None => return Ok(()),
                },
                Some(note) = self.pending.recv() => {
                    events.send(note).await.map_err(|_| SessionError::Closed)?;
                }
            }
        }
    }

    fn obey(
        &mut self,
        command: WorkerCommand,
        events: &mpsc::Sender<WorkerEvent>,
        configured: &mut bool,
    ) -> Result<(), SessionError> {
        match command.command {
            Some(Command::Configure(configure)) => {
                self.configure(configure)?;
                *configured = true;
            }
            Some(Command::MakeSpare(_)) => self.order(Order::MakeSpare)?,
            Some(Command::Wipe(wipe)) => self.wipe(&wipe, events.clone()),
            // A newer broker may know commands that this guest does not.
            None => {}
        }
        Ok(())
    }

    fn configure(&self, configure: Configure) -> Result<(), SessionError> {
        if configure.component_id != self.options.component.as_str() {
            return Err(SessionError::OtherComponent(configure.component_id));
        }
        let program = match configure.runner.as_str() {
            "python" => Program::Python {
                interpreter: configure.interpreter.into(),
            },
            "command" => Program::Command {
                argv: configure.command,
            },
            other => {
                self.notes.spare_failed(format!(
                    "the runner `{other}` is unknown to this guest; it knows `python` and `command`"
                ));
                return Ok(());
            }
        };
        let directory = Some(configure.working_dir).filter(|directory| !directory.is_empty());
        self.order(Order::Configure(Configuration {
            program,
            entry: configure.entry.into(),
            directory: directory.map(PathBuf::from),
            env: configure.env.into_iter().collect(),
        }))
    }

    fn order(&self, order: Order) -> Result<(), SessionError> {
        match self.orders.try_send(order) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.notes
                    .spare_failed("the runner is too busy to take orders".to_owned());
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SessionError::NoRunner),
        }
    }

    /// Deletes beside the session: thousands of files must not delay a spare.
    fn wipe(&self, wipe: &Wipe, events: mpsc::Sender<WorkerEvent>) {
        let scratch = self.options.scratch.clone();
        let wipe_id = wipe.wipe_id;
        let since = Some(wipe.untouched_since_ms).filter(|since| *since > 0);
        let work = tokio::task::spawn_blocking(move || wipe_all(&scratch, since));
        tokio::spawn(async move {
            for line in work.await.unwrap_or_default() {
                say::line(&line);
                let event = Some(Event::Output(Output { line }));
                if events.send(WorkerEvent { event }).await.is_err() {
                    return; // The session is over; the next broker asks again.
                }
            }
            let event = Some(Event::Wiped(Wiped { wipe_id }));
            if events.send(WorkerEvent { event }).await.is_err() {
                // As above.
            }
        });
    }
}

async fn connect(socket: PathBuf) -> Result<Channel, SessionError> {
    let path = socket.clone();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The address is only the authority of the requests; the connector decides where they go.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .map_err(|source| SessionError::Connect { socket, source })
}

fn send(events: &mpsc::Sender<WorkerEvent>, event: Event) -> Result<(), SessionError> {
    events
        .try_send(WorkerEvent { event: Some(event) })
        .map_err(|_| SessionError::Closed)
}

/// Empties the scratch directories; the lines say what did not go.
fn wipe_all(scratch: &[PathBuf], untouched_since: Option<u64>) -> Vec<String> {
    let uid = geteuid();
    let system = PathBuf::from("/tmp");
    // Never so in a container; a worker started by hand must not empty a machine's /tmp.
    if uid.is_root() && scratch.contains(&system) {
        return vec!["nothing was wiped: the worker runs as root".to_owned()];
    }
    let deadline = Instant::now() + WIPE_TIME;
    let mut lines = Vec::new();
    for directory in scratch {
        match wipe::wipe(directory, uid.as_raw(), untouched_since, deadline) {
            Ok(summary) if summary.left > 0 => lines.push(format!(
                "{} entries could not be wiped from `{}`",
                summary.left,
                directory.display()
            )),
            Ok(_) => {}
            Err(error) => lines.push(say::chain(&error)),
        }
    }
    lines
}
