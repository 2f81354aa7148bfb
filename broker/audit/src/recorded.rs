//! A permit that was recorded, and the promise of an outcome.

use crate::error::Unavailable;
use crate::line::{Body, Decided, Phase};
use crate::log::Log;
use crate::record::{Outcome, RecordId};

/// The outcome of a decision whose effect nobody reported on.
const ABANDONED: &str = "abandoned";

/// What remains of a recorded decision until its outcome is written.
#[derive(Debug)]
pub(crate) struct Ticket {
    log: Log,
    id: RecordId,
    decided: Decided,
    open: bool,
}

impl Ticket {
    pub(crate) fn new(log: Log, id: RecordId, mut decided: Decided) -> Self {
        decided.forget_detail();
        Self {
            log,
            id,
            decided,
            open: true,
        }
    }

    /// Writes the last record of the decision. The ticket is spent before anything is waited for, so that a
    /// caller who goes away meanwhile does not leave a second, contradicting one.
    async fn settle(mut self, phase: Phase, body: Body) -> Result<RecordId, Unavailable> {
        self.open = false;
        match self.log.keeper().append(phase, body.bytes()) {
            Ok(seq) => self.log.keeper().settled(seq).await?,
            Err(end) => {
                self.log.keeper().lose();
                return Err(end);
            }
        }
        Ok(self.id)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            let body = self.decided.outcome(ABANDONED, &Outcome::default());
            if self
                .log
                .keeper()
                .append(Phase::Outcome, body.bytes())
                .is_err()
            {
                self.log.keeper().lose();
            }
        }
    }
}

/// Proof that a decision stands in the log. Not `Clone`: one record allows one effect.
/// Dropped without [`Recorded::finish`], it writes the outcome `abandoned`.
#[derive(Debug)]
#[must_use = "dropping it writes the outcome `abandoned`"]
pub struct Recorded<P> {
    permit: P,
    ticket: Ticket,
}

/// A recorded decision that was taken back before any effect. Dropped unrecorded, it writes `abandoned`.
#[derive(Debug)]
#[must_use = "call `record`, or the log says `abandoned`"]
pub struct Denied {
    ticket: Ticket,
}

impl<P> Recorded<P> {
    pub(crate) fn new(permit: P, ticket: Ticket) -> Self {
        Self { permit, ticket }
    }

    /// Id of the record.
    #[must_use]
    pub fn id(&self) -> RecordId {
        self.ticket.id
    }

    /// The permit.
    #[must_use]
    pub fn get(&self) -> &P {
        &self.permit
    }

    /// Trades the permit for what a second look makes of it.
    ///
    /// # Errors
    /// The second look denied; record that with [`Denied::record`].
    pub fn advance<Q, D>(
        self,
        look: impl FnOnce(P) -> Result<Q, D>,
    ) -> Result<Recorded<Q>, (Denied, D)> {
        let Self { permit, ticket } = self;
        match look(permit) {
            Ok(permit) => Ok(Recorded { permit, ticket }),
            Err(denial) => Err((Denied { ticket }, denial)),
        }
    }

    /// Writes the outcome.
    ///
    /// # Errors
    /// The log takes no more records.
    pub async fn finish(self, outcome: Outcome<'_>) -> Result<RecordId, Unavailable> {
        let reason = if outcome.ok {
            "ok"
        } else {
            outcome.error.unwrap_or("failed")
        };
        let body = self.ticket.decided.outcome(reason, &outcome);
        self.ticket.settle(Phase::Outcome, body).await
    }
}

impl Denied {
    /// Id of the record.
    #[must_use]
    pub fn id(&self) -> RecordId {
        self.ticket.id
    }

    /// Writes the denial under the id of the decision it replaces.
    ///
    /// # Errors
    /// The log takes no more records.
    pub async fn record(self, reason: &str, sentence: &str) -> Result<RecordId, Unavailable> {
        let body = self.ticket.decided.denial(reason, sentence);
        self.ticket.settle(Phase::Decision, body).await
    }
}
