//! The audit log of rumi: what was decided, by which policy, for whom, and how it ended, in a form
//! that cannot be changed unnoticed. `docs/audit-format.md` is the format; this crate writes it,
//! reads it back and verifies it.

mod chain;
mod clock;
mod crew;
mod error;
mod ids;
mod json;
mod keeper;
mod key;
mod keys;
mod line;
mod lines;
mod log;
pub mod note;
mod open;
mod parse;
pub mod query;
mod record;
mod recorded;
mod recovery;
mod segment;
mod tree;
pub mod verify;
mod writer;

pub use error::{Failure, OpenError, Unavailable};
pub use log::{Durability, Health, Log, LogOptions};
pub use note::{Checkpoint, PublicKey};
pub use record::{Admin, Decision, InvalidRecordId, Outcome, Peer, PolicyChange, RecordId};
pub use recorded::{Denied, Recorded};
