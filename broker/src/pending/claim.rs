//! Answering: one admin at a time, and each request once.

use std::time::SystemTime;

use tokio::{sync::oneshot, time::Instant};

use super::{Answer, Ended, Pending, Shown};

/// Why there is nothing to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimError {
    /// No request has waited under this id lately.
    Unknown,
    /// Somebody is answering it at this moment.
    Taken,
    /// It waits no longer: what became of it, and when.
    Ended(Ended, SystemTime),
}

/// A request that somebody answers. Dropped without an answer, it goes on waiting.
#[derive(Debug)]
pub struct Claim {
    pending: Pending,
    shown: Shown,
    answer: Option<oneshot::Sender<Answer>>,
}

pub(super) fn claim(pending: &Pending, id: &str) -> Result<Claim, ClaimError> {
    let mut table = pending.table();
    if let Some(entry) = table.entry(id) {
        let answer = entry.answer.take().ok_or(ClaimError::Taken)?;
        return Ok(Claim {
            pending: pending.clone(),
            shown: entry.shown.clone(),
            answer: Some(answer),
        });
    }
    Err(match table.became_of(id) {
        Some((how, at)) => ClaimError::Ended(how, at),
        None => ClaimError::Unknown,
    })
}

impl Claim {
    /// What is asked.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Answers; says whether anybody was there still to hear it.
    #[must_use]
    pub fn give(mut self, answer: Answer) -> bool {
        let Some(sender) = self.answer.take() else {
            return false;
        };
        // Held meanwhile: whoever hears it goes away at once, and what became of it was this.
        let mut table = self.pending.table();
        let heard = sender.send(answer).is_ok();
        if heard {
            table.forget(&self.shown.id, Ended::Answered(answer));
        }
        drop(table);
        heard
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.pending.table();
        // Later than this nobody looks there any more; without a sender the wait is over.
        if let Some(entry) = table.entry(&self.shown.id)
            && Instant::now() < entry.until
        {
            entry.answer = self.answer.take();
        }
    }
}
