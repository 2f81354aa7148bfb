//! Containers that a conversation keeps: its files stay from one call to the next, its processes do not.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{ready::Prepared, slot::SlotError};

/// Sessions that are open at once; each holds the memory of its files.
const MOST: usize = 16;
/// How often it is looked whether one is not used any more.
const ROUND: Duration = Duration::from_secs(10);

/// What a session is called: `[a-z0-9][a-z0-9_-]{0,47}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName(Arc<str>);

/// Not the name of a session.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "`{0}` cannot name a session; remedy: lower-case letters, digits, `-` and `_`, at most 48, beginning with a letter or a digit"
)]
pub struct NotAName(String);

impl FromStr for SessionName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        // The same spelling as a pack's.
        match text.parse::<rumi_policy::PackId>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(NotAName(text.escape_debug().to_string())),
        }
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Another has the name.
    #[error("a session `{0}` is open already; remedy: packctl session rm {0}, or another name")]
    Taken(SessionName),
    /// It was never opened, or has expired.
    #[error("there is no session `{0}`; remedy: packctl session new {0}")]
    Unknown(SessionName),
    /// One call at a time.
    #[error("a call of the session `{0}` is running; remedy: wait for its end")]
    Busy(SessionName),
    /// No more room.
    #[error(
        "{MOST} sessions are open, which is as many as may be; remedy: packctl session rm NAME"
    )]
    Full,
    /// There is no container for it.
    #[error(transparent)]
    Slot(#[from] SlotError),
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Nothing once it was closed. Held for as long as a call runs.
    pub(super) container: tokio::sync::Mutex<Option<Prepared>>,
    begun: Instant,
    /// Milliseconds from its beginning to its last use.
    used: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) id: String,
}

impl Session {
    fn new(prepared: Prepared) -> Self {
        Self {
            id: prepared.slot.container().to_owned(),
            container: tokio::sync::Mutex::new(Some(prepared)),
            begun: Instant::now(),
            used: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// It is in use now.
    pub(super) fn touch(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(since, Ordering::Relaxed);
    }

    /// Whether a call of it runs now.
    pub(super) fn runs(&self) -> bool {
        self.container.try_lock().is_err()
    }

    /// How long nobody has used it.
    pub(super) fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(used)
    }
}

/// All that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionName, Arc<Session>>>);

impl Sessions {
    fn open(&self) -> MutexGuard<'_, HashMap<SessionName, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more of this name could be opened.
    pub(super) fn room_for(&self, name: &SessionName) -> Result<(), SessionError> {
        let open = self.open();
        if open.contains_key(name) {
            return Err(SessionError::Taken(name.clone()));
        }
        if open.len() >= MOST {
            return Err(SessionError::Full);
        }
        Ok(())
    }

    /// Opens it. Two that asked at once are told apart here.
    pub(super) fn insert(
        &self,
        name: &SessionName,
        prepared: Prepared,
    ) -> Result<Arc<Session>, SessionError> {
        self.room_for(name)?;
        let session = Arc::new(Session::new(prepared));
        self.open().insert(name.clone(), Arc::clone(&session));
        Ok(session)
    }

    pub(super) fn find(&self, name: &SessionName) -> Result<Arc<Session>, SessionError> {
        let found = self.open().get(name).map(Arc::clone);
        found.ok_or_else(|| SessionError::Unknown(name.clone()))
    }

    /// Closes it, after the call that runs.
    pub(super) async fn remove(&self, name: &SessionName) -> Result<(), SessionError> {
        let session = self.open().remove(name);
        let session = session.ok_or_else(|| SessionError::Unknown(name.clone()))?;
        let prepared = session.container.lock().await.take();
        if let Some(prepared) = prepared {
            prepared.slot.retire().await;
        }
        Ok(())
    }

    pub(super) fn list(&self) -> Vec<(SessionName, Arc<Session>)> {
        let mut all: Vec<_> = self
            .open()
            .iter()
            .map(|(name, session)| (name.clone(), Arc::clone(session)))
            .collect();
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all
    }

    /// Closes a session when nobody has used it for so long.
    pub(super) async fn expire(
        self: Arc<Self>,
        name: SessionName,
        session: Arc<Session>,
        after: Duration,
    ) {
        loop {
            tokio::time::sleep(ROUND.min(after)).await;
            let same = self
                .find(&name)
                .is_ok_and(|open| Arc::ptr_eq(&open, &session));
            if !same {
                return;
            }
            // One that runs is in use.
            if session.idle() >= after && !session.runs() {
                tracing::info!(session = %name, "a session that nobody used is closed");
                if let Err(error) = self.remove(&name).await {
                    tracing::debug!(%error, "a session was closed meanwhile");
                }
                return;
            }
        }
    }

    /// Closes all.
    pub(super) async fn close(&self) {
        let names: Vec<SessionName> = self.open().keys().cloned().collect();
        let closing = names.iter().map(|name| self.remove(name));
        for closed in futures_util::future::join_all(closing).await {
            if let Err(error) = closed {
                tracing::debug!(%error, "a session was closed meanwhile");
            }
        }
    }
}
