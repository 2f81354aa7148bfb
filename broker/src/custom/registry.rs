//! The handlers that requests find, and the way to one that runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rumi_policy::{HandlerMeta, HandlerName, HandlerState};
use serde_json::value::RawValue;
use tokio::{
    sync::{Notify, OwnedRwLockReadGuard, RwLock, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

pub use super::scan::Stranger;
use crate::{
    packs::{ArgumentsError, Schema},
    workers::Pool,
};

/// How long a call waits for a handler that is being loaded or replaced.
const PATIENCE: Duration = Duration::from_secs(20);
/// Starts that wait for the keeper, who only hands them on.
const STARTS: usize = 256;

/// All handlers, by name.
#[derive(Debug)]
pub struct Handlers {
    entries: Mutex<BTreeMap<HandlerName, Arc<Entry>>>,
    strangers: Mutex<Vec<Stranger>>,
    starts: mpsc::Sender<Start>,
}

/// A handler that somebody wants to run.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) entry: Arc<Entry>,
    pub(super) content: String,
    pub(super) reply: oneshot::Sender<Result<Live, NotLive>>,
}

/// Why a handler does not run.
#[derive(Debug, Clone)]
pub enum NotLive {
    /// Its image was made anew, from a new base for one; who opens it again gets that one.
    Anew,
    /// It cannot be started; the message is for the admin.
    Failed(String),
}

/// One handler.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: HandlerName,
    pub(super) state: watch::Sender<State>,
    /// Held by calls; whoever replaces the handler waits for them here.
    pub(super) gate: Arc<RwLock<()>>,
    pub(super) live: Mutex<Option<Live>>,
    /// Asks whoever looks after it to load it again.
    pub(super) again: Notify,
}

/// Whether a handler can be called.
#[derive(Debug, Clone)]
pub(super) enum State {
    Loading,
    Gone,
    Refused(String),
    Ready(Arc<Ready>),
}

/// A handler as it was loaded.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) meta: HandlerMeta,
    pub(super) schema: Option<Schema>,
    /// Hash of all that its image is made from.
    pub(super) content: String,
}

/// Where it runs.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its processes.
    pub pool: Arc<Pool>,
    /// Its container.
    pub container: String,
}

/// What `packctl handlers ls` shows of one handler.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub name: HandlerName,
    /// `loading`, `ready`, `running` or `refused`.
    pub state: &'static str,
    /// Why it was refused.
    pub message: String,
    /// Its META, once it is loaded.
    pub meta: Option<HandlerMeta>,
    /// Calls since its container was started or adopted.
    pub calls: u64,
}

impl Handlers {
    /// None yet; the keeper finds them, and takes the other end.
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Start>) {
        let (starts, wanted) = mpsc::channel(STARTS);
        let handlers = Self {
            entries: Mutex::default(),
            strangers: Mutex::default(),
            starts,
        };
        (Arc::new(handlers), wanted)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<HandlerName, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a name, made where it is missing.
    pub(super) fn entry(&self, name: &HandlerName) -> Arc<Entry> {
        let mut entries = self.entries();
        let entry = entries.entry(name.clone()).or_insert_with(|| {
            Arc::new(Entry {
                name: name.clone(),
                state: watch::Sender::new(State::Loading),
                gate: Arc::default(),
                live: Mutex::default(),
                again: Notify::new(),
            })
        });
        Arc::clone(entry)
    }

    pub(super) fn set_strangers(&self, strangers: Vec<Stranger>) {
        *self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = strangers;
    }

    /// Files that cannot be handlers.
    #[must_use]
    pub fn strangers(&self) -> Vec<Stranger> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All handlers, in order of their names.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let entries: Vec<_> = self.entries().values().map(Arc::clone).collect();
        entries.iter().filter_map(|entry| entry.shown()).collect()
    }

    /// Opens a handler for one call; as long as it is open, its code is not replaced.
    ///
    /// # Errors
    /// When there is none that can be called.
    pub async fn open(self: &Arc<Self>, name: &HandlerName) -> Result<Opened, HandlerState> {
        let refused = |why: &str| HandlerState::Refused(why.to_owned());
        let entry = self.entries().get(name).map(Arc::clone);
        let entry = entry.ok_or(HandlerState::Missing)?;
        let deadline = Instant::now() + PATIENCE;
        let mut state = entry.state.subscribe();
        let loaded = state.wait_for(|state| !matches!(state, State::Loading));
        if timeout_at(deadline, loaded).await.is_err() {
            return Err(refused("it is still being loaded"));
        }
        let turn = timeout_at(deadline, Arc::clone(&entry.gate).read_owned())
            .await
            .map_err(|_| refused("it is being replaced"))?;
        let state = entry.state.borrow().clone();
        match state {
            State::Ready(ready) => Ok(Opened {
                handlers: Arc::clone(self),
                entry,
                ready,
                _turn: turn,
            }),
            State::Loading => Err(refused("it is being loaded anew")),
            State::Gone => Err(HandlerState::Missing),
            State::Refused(why) => Err(HandlerState::Refused(why)),
        }
    }
}

impl Entry {
    pub(super) fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its pool, while its container runs.
    fn running(&self) -> Option<Live> {
        self.live().clone().filter(|live| live.pool.in_container())
    }

    fn shown(&self) -> Option<Shown> {
        let running = self.running();
        let state = self.state.borrow().clone();
        let (state, message, meta) = match state {
            State::Gone => return None,
            State::Loading => ("loading", String::new(), None),
            State::Refused(why) => ("refused", why, None),
            State::Ready(ready) => {
                let state = if running.is_some() {
                    "running"
                } else {
                    "ready"
                };
                (state, String::new(), Some(ready.meta.clone()))
            }
        };
        Some(Shown {
            name: self.name.clone(),
            state,
            message,
            meta,
            calls: running.map_or(0, |live| live.pool.status().calls),
        })
    }
}

/// A handler that stays as it is until this is dropped.
#[derive(Debug)]
pub struct Opened {
    handlers: Arc<Handlers>,
    entry: Arc<Entry>,
    ready: Arc<Ready>,
    _turn: OwnedRwLockReadGuard<()>,
}

impl Opened {
    /// The same handler as it is loaded now.
    ///
    /// # Errors
    /// When there is none that can be called any more.
    pub async fn again(self) -> Result<Self, HandlerState> {
        let (handlers, name) = (self.handlers, self.entry.name.clone());
        // Who replaces it waits for this.
        drop(self._turn);
        handlers.open(&name).await
    }

    /// What the policy must know of it.
    #[must_use]
    pub fn state(&self) -> HandlerState {
        HandlerState::Ready {
            requires_scope: self.ready.meta.requires_scope,
        }
    }

    /// Which code it is, for the record.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.ready.content
    }

    /// Parses arguments and checks them against the handler's schema.
    ///
    /// # Errors
    /// When they do not fit; the message names the place and none of the values.
    pub fn arguments(&self, text: &str) -> Result<Box<RawValue>, ArgumentsError> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(ArgumentsError::NotJson)?;
        if !value.is_object() {
            return Err(ArgumentsError::NotAnObject);
        }
        if let Some(schema) = &self.ready.schema {
            schema.check_masked(&value)?;
        }
        // What was checked is what is sent: duplicate keys of the text do not survive.
        serde_json::value::to_raw_value(&value).map_err(ArgumentsError::NotJson)
    }

    /// Where it runs, started first where it does not.
    ///
    /// # Errors
    /// When it cannot be started, or is another by now.
    pub async fn live(&self) -> Result<Live, NotLive> {
        if let Some(live) = self.entry.running() {
            return Ok(live);
        }
        let (reply, started) = oneshot::channel();
        let start = Start {
            entry: Arc::clone(&self.entry),
            content: self.ready.content.clone(),
            reply,
        };
        let stopping = || NotLive::Failed("the broker is stopping".to_owned());
        self.handlers
            .starts
            .send(start)
            .await
            .map_err(|_| stopping())?;
        started.await.unwrap_or_else(|_| Err(stopping()))
    }
}
