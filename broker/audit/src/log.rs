//! The log that the broker writes.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{OpenError, Unavailable};
use crate::note::PublicKey;
use crate::record::{Admin, Decision, PolicyChange, RecordId};
use crate::recorded::Recorded;

/// What a record must survive before it counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the broker: the kernel has the bytes, the disk gets them behind.
    #[default]
    Process,
    /// The loss of power: the disk has the bytes; waiting requests share one fdatasync.
    Power,
}

/// Where and how a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Directory of the segments and the checkpoint.
    pub dir: PathBuf,
    /// Signing key (PKCS#8, Ed25519), made with mode 0600 where it is missing; the public key is `audit.pub` beside it.
    pub key: PathBuf,
    /// Size at which a new segment is begun, allocated in advance.
    pub segment_bytes: u64,
    /// What a record must survive.
    pub durability: Durability,
    /// Name of the log in its checkpoints; counts for a new log only, an existing one keeps its name.
    pub origin: String,
    /// Longest time that a record stays unsigned, at most a second.
    pub checkpoint_every: Duration,
}

impl LogOptions {
    /// Usual options: 64 MiB segments, durability `process`, a checkpoint twice a second.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, key: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            key: key.into(),
            segment_bytes: 64 << 20,
            durability: Durability::Process,
            origin: origin.into(),
            checkpoint_every: Duration::from_millis(500),
        }
    }
}

/// How the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Records written.
    pub records: u64,
    /// Records that the checkpoint covers.
    pub signed: u64,
    /// Outcomes that were lost because the log had failed.
    pub lost: u64,
}

/// The one writer of a log. Clones share it.
#[derive(Debug, Clone)]
pub struct Log {}

impl Log {
    /// Opens or makes a log, recovering what a crash left.
    ///
    /// # Errors
    /// The log cannot be trusted or written; the message names the remedy.
    pub fn open(_options: LogOptions) -> Result<Self, OpenError> {
        Err(OpenError::Unavailable(Unavailable::Closed))
    }
    /// Writes an `allow` decision and binds the permit to it.
    ///
    /// # Errors
    /// The record was not written: the request must be refused with `audit_unavailable`.
    pub async fn record<P>(
        &self,
        _decision: Decision<'_>,
        _permit: P,
    ) -> Result<Recorded<P>, Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Writes a `deny` decision.
    ///
    /// # Errors
    /// The record was not written.
    pub async fn record_denial(
        &self,
        _decision: Decision<'_>,
        _reason: &str,
    ) -> Result<RecordId, Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Writes what an administrator did.
    ///
    /// # Errors
    /// The record was not written: the act must be refused.
    pub async fn admin(&self, _admin: Admin<'_>) -> Result<RecordId, Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Writes that a policy came into force.
    ///
    /// # Errors
    /// The record was not written.
    pub async fn policy(&self, _change: PolicyChange<'_>) -> Result<RecordId, Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Keyed digest of a secret: equal secrets can be recognised, none can be guessed without the key.
    #[must_use]
    pub fn fingerprint(&self, _secret: &[u8]) -> String {
        String::new()
    }
    /// The key that verifies this log.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            name: String::new(),
            bytes: [0; 32],
        }
    }
    /// How the log is; an error once it takes no more records.
    ///
    /// # Errors
    /// The log has failed or is closed.
    pub fn health(&self) -> Result<Health, Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Outcomes that could not be written, kept countable after a failure.
    #[must_use]
    pub fn lost(&self) -> u64 {
        0
    }
    /// Brings everything to the disk and signs it. Blocks.
    ///
    /// # Errors
    /// The log has failed.
    pub fn flush(&self) -> Result<(), Unavailable> {
        Err(Unavailable::Closed)
    }
    /// Flushes, signs, and takes no more records. Blocks.
    ///
    /// # Errors
    /// The log had failed before.
    pub fn close(&self) -> Result<(), Unavailable> {
        Err(Unavailable::Closed)
    }
}
