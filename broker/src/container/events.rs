//! What happens to packs' containers, as the engine tells it, across its restarts.

use std::{collections::HashMap, time::Duration};

use bollard::{models::EventMessage, query_parameters::EventsOptionsBuilder};
use futures_util::StreamExt as _;
use rumi_policy::PackId;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    engine::{ContainerId, Engine, ExecId},
    error::EngineError,
    labels,
    lifecycle::Running,
};

/// Waits between attempts to reach an engine that went away.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// All containers there are. Comes first, and again whenever events may have been missed:
    /// what is not in it is gone.
    Listed(Vec<Running>),
    /// The engine cannot be reached; a list follows when it can.
    Lost(EngineError),
    /// A container was started.
    Started(Subject),
    /// A container's PID 1 ended.
    Died {
        /// Which.
        of: Subject,
        /// With this code.
        exit_code: i64,
    },
    /// The kernel killed in it for lack of memory.
    OutOfMemory(Subject),
    /// A process started afterwards ended.
    ExecDied {
        /// In which container.
        of: Subject,
        /// Which process.
        exec: ExecId,
        /// With this code.
        exit_code: i64,
    },
    /// A container was removed.
    Removed(Subject),
}

/// The container an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The engine's identifier.
    pub container: ContainerId,
    /// Its pack.
    pub pack: PackId,
}

/// Follows events until the receiver is dropped.
#[derive(Debug)]
pub struct Watch {
    engine: Engine,
    events: mpsc::Sender<Event>,
}

impl Watch {
    /// Begins to follow. Dropping the handle does not end it; dropping the receiver does.
    pub fn start(engine: &Engine, events: mpsc::Sender<Event>) -> JoinHandle<()> {
        let watch = Self {
            engine: engine.clone(),
            events,
        };
        tokio::spawn(watch.run())
    }

    async fn run(self) {
        let mut wait = FIRST_WAIT;
        while !self.events.is_closed() {
            match self.follow().await {
                Ok(()) => wait = FIRST_WAIT,
                Err(error) => {
                    if self.events.send(Event::Lost(error)).await.is_err() {
                        return;
                    }
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows one stream to its end. The stream begins in the past by a second, so that what
    /// happens between the list and the stream is not missed; a repeated event does no harm.
    async fn follow(&self) -> Result<(), EngineError> {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = clock
            .unwrap_or_default()
            .saturating_sub(Duration::from_secs(1));
        self.engine.ping().await?;
        let mine = format!("{}={}", labels::INSTANCE, self.engine.instance().as_str());
        let kind = format!("{}={}", labels::KIND, labels::KIND_PACK);
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["start", "die", "oom", "exec_die", "destroy"]),
            ("label", vec![mine.as_str(), kind.as_str()]),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
            .filters(&filters)
            .build();
        let listed = self.engine.list().await?;
        let mut messages = std::pin::pin!(self.engine.docker().events(Some(options)));
        if self.events.send(Event::Listed(listed)).await.is_err() {
            return Ok(());
        }
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = self.events.closed() => return Ok(()),
            };
            let Some(message) = message else {
                return Ok(());
            };
            let message = message.map_err(EngineError::call("tell", "events"))?;
            if let Some(event) = event(message)
                && self.events.send(event).await.is_err()
            {
                return Ok(());
            }
        }
    }
}

fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes.unwrap_or_default();
    let of = Subject {
        container: ContainerId::new(&actor.id?),
        pack: attributes.get(labels::PACK)?.parse().ok()?,
    };
    let exit_code = attributes
        .get("exitCode")
        .and_then(|code| code.parse().ok())
        .unwrap_or(-1);
    Some(match message.action?.as_str() {
        "start" => Event::Started(of),
        "die" => Event::Died { of, exit_code },
        "oom" => Event::OutOfMemory(of),
        "exec_die" => Event::ExecDied {
            of,
            exec: ExecId::new(attributes.get("execID")?),
            exit_code,
        },
        "destroy" => Event::Removed(of),
        _ => return None,
    })
}
