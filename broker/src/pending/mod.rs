//! Requests that wait for the admin's answer.
//!
//! Each waits by itself, under an id that is used once and never again, a restart of the broker
//! included: an answer reaches the request that was shown under it, or nobody.

mod claim;
mod table;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rumi_audit::Peer;
use rumi_policy::{ComponentId, PermissionName};
use tokio::{sync::oneshot, time::Instant};

use self::table::{Entry, Table};
pub use self::{
    claim::{Claim, ClaimError},
    table::Ended,
};
use crate::config::ApprovalSettings;

/// What the admin is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// On whose behalf.
    pub component: ComponentId,
    /// The permission that wants an answer before each use.
    pub permission: PermissionName,
    /// All of the request.
    pub line: String,
    /// Whether the answer can be kept for this very request.
    pub may_be_kept: bool,
    /// The tool call that asks, where that is known.
    pub invocation: Option<String>,
}

/// A request that waits, as the admin sees it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its name.
    pub id: String,
    /// What is asked.
    pub question: Question,
    /// Since when.
    pub since: SystemTime,
    /// How long it may wait in all.
    pub patience: Duration,
}

/// What an admin said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may be done.
    pub allow: bool,
    /// Whether the same request is to be allowed from now on.
    pub always: bool,
    /// Who said it.
    pub by: Peer,
    /// When.
    pub at: SystemTime,
}

/// Why nobody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// As many requests of the component wait as may.
    Crowded,
    /// The component had the admin asked as often within a minute as it may.
    TooOften,
    /// No id can be made.
    NoId,
}

/// All that wait.
#[derive(Debug, Clone)]
pub struct Pending(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ApprovalSettings,
    table: Mutex<Table>,
}

impl Pending {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(settings: ApprovalSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            table: Mutex::default(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a question before the admin.
    ///
    /// # Errors
    /// When the component has too many already.
    pub fn ask(&self, question: Question) -> Result<Waiting, TurnedAway> {
        let settings = &self.0.settings;
        let id = new_id().ok_or(TurnedAway::NoId)?;
        let patience = settings.timeout_ms.duration();
        let (sender, answer) = oneshot::channel();
        let until = Instant::now() + patience;
        let entry = Entry {
            shown: Shown {
                id: id.clone(),
                question: question.clone(),
                since: SystemTime::now(),
                patience,
            },
            until,
            answer: Some(sender),
        };
        self.table().enter(entry, settings)?;
        Ok(Waiting {
            pending: self.clone(),
            component: question.component,
            id,
            until,
            answer,
        })
    }

    /// All that wait, the oldest first.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.table().shown()
    }

    /// Takes a request that waits, to answer it: nobody else can then.
    ///
    /// # Errors
    /// When none waits under this id.
    pub fn claim(&self, id: &str) -> Result<Claim, ClaimError> {
        claim::claim(self, id)
    }
}

/// A request that waits. It goes away with this.
#[derive(Debug)]
pub struct Waiting {
    pending: Pending,
    component: ComponentId,
    id: String,
    until: Instant,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the answer; nothing when none comes in time.
    pub async fn answered(&mut self) -> Option<Answer> {
        match tokio::time::timeout_at(self.until, &mut self.answer).await {
            Ok(answered) => answered.ok(),
            // Who took it to answer it in the last moment is waited for.
            Err(_) if self.pending.table().end(&self.id, Ended::TimedOut) => None,
            Err(_) => (&mut self.answer).await.ok(),
        }
    }

    /// It is no longer to be answered, and why. Its place is free once this is dropped.
    pub fn end(&self, how: Ended) {
        self.pending.table().end(&self.id, how);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut table = self.pending.table();
        table.forget(&self.id, Ended::Withdrawn);
        table.leave(&self.component);
    }
}

/// Letters of an id; without the ones that people confuse.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Forty bits: an id from a list that is no longer true names nothing.
const ID_LETTERS: usize = 8;

fn new_id() -> Option<String> {
    let mut random = [0_u8; ID_LETTERS];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut random, flags).ok()?;
    if filled != ID_LETTERS {
        return None;
    }
    random
        .iter()
        .map(|byte| {
            LETTERS
                .get(usize::from(byte & 31))
                .map(|at| char::from(*at))
        })
        .collect()
}
