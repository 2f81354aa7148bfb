//! A permit that was recorded, and the promise of an outcome.

use crate::error::Unavailable;
use crate::record::{Outcome, RecordId};

/// What remains of a recorded decision until its outcome is written.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: RecordId,
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
    pub async fn finish(self, _outcome: Outcome<'_>) -> Result<RecordId, Unavailable> {
        Err(Unavailable::Closed)
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
    pub async fn record(self, _reason: &str, _sentence: &str) -> Result<RecordId, Unavailable> {
        Err(Unavailable::Closed)
    }
}
