//! The log that the broker writes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{OpenError, Unavailable};
use crate::keeper::Keeper;
use crate::line::{Body, Decided, Phase};
use crate::note::PublicKey;
use crate::open;
use crate::record::{Admin, Decision, PolicyChange, RecordId};
use crate::recorded::{Recorded, Ticket};

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
    pub fn new(
        dir: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        origin: impl Into<String>,
    ) -> Self {
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

/// The one writer of a log. Clones share it; the last one to go closes it.
#[derive(Debug, Clone)]
pub struct Log(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    keeper: Arc<Keeper>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.keeper.stop();
        let thread = self.thread.lock().map(|mut thread| thread.take());
        if let Ok(Some(thread)) = thread {
            // A thread that died has marked the log as failed; there is nothing to add here.
            drop(thread.join());
        }
        // The same holds for what closing runs into: it has ended the log, and nobody is left to be told.
        drop(self.keeper.close());
    }
}

impl Log {
    /// Opens or makes a log, recovering what a crash left.
    ///
    /// # Errors
    /// The log cannot be trusted or written; the message names the remedy.
    pub fn open(options: LogOptions) -> Result<Self, OpenError> {
        let dir = options.dir.clone();
        let keeper = Arc::new(open::open(options)?);
        let thread = std::thread::Builder::new()
            .name("audit-keeper".to_owned())
            .spawn({
                let keeper = Arc::clone(&keeper);
                move || keeper.run()
            })
            .map_err(OpenError::io("start the thread that signs", &dir))?;
        Ok(Self(Arc::new(Owner {
            keeper,
            thread: Mutex::new(Some(thread)),
        })))
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    /// Writes an `allow` decision and binds the permit to it.
    ///
    /// # Errors
    /// The record was not written: the request must be refused with `audit_unavailable`.
    pub async fn record<P>(
        &self,
        decision: Decision<'_>,
        permit: P,
    ) -> Result<Recorded<P>, Unavailable> {
        let id = self.keeper().id()?;
        let decided = Decided::new(id, &decision, None);
        let seq = self.keeper().append(Phase::Decision, decided.bytes())?;
        // Made before anything is waited for: a caller who goes away meanwhile leaves an outcome.
        let ticket = Ticket::new(self.clone(), id, decided);
        self.keeper().settled(seq).await?;
        Ok(Recorded::new(permit, ticket))
    }

    /// Writes a `deny` decision.
    ///
    /// # Errors
    /// The record was not written.
    pub async fn record_denial(
        &self,
        decision: Decision<'_>,
        reason: &str,
    ) -> Result<RecordId, Unavailable> {
        let id = self.keeper().id()?;
        let decided = Decided::new(id, &decision, Some(reason));
        let seq = self.keeper().append(Phase::Decision, decided.bytes())?;
        self.keeper().settled(seq).await?;
        Ok(id)
    }

    /// Writes what an administrator did.
    ///
    /// # Errors
    /// The record was not written: the act must be refused.
    pub async fn admin(&self, admin: Admin<'_>) -> Result<RecordId, Unavailable> {
        let id = self.keeper().id()?;
        self.write(id, Phase::Admin, &Body::admin(id, &admin)).await
    }

    /// Writes that a policy came into force.
    ///
    /// # Errors
    /// The record was not written.
    pub async fn policy(&self, change: PolicyChange<'_>) -> Result<RecordId, Unavailable> {
        let id = self.keeper().id()?;
        self.write(id, Phase::Policy, &Body::policy(id, &change))
            .await
    }

    async fn write(
        &self,
        id: RecordId,
        phase: Phase,
        body: &Body,
    ) -> Result<RecordId, Unavailable> {
        let seq = self.keeper().append(phase, body.bytes())?;
        self.keeper().settled(seq).await?;
        Ok(id)
    }

    /// Keyed digest of a secret: equal secrets can be recognised, none can be guessed without the key.
    #[must_use]
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        self.keeper().key().fingerprint(secret)
    }

    /// The key that verifies this log.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.keeper().key().public().clone()
    }

    /// How the log is.
    ///
    /// # Errors
    /// The log has failed or is closed.
    pub fn health(&self) -> Result<Health, Unavailable> {
        let (records, signed) = self.keeper().sizes()?;
        Ok(Health {
            records,
            signed,
            lost: self.keeper().lost(),
        })
    }

    /// Outcomes that could not be written, countable after a failure too.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.keeper().lost()
    }

    /// Brings everything to the disk and signs it. Blocks.
    ///
    /// # Errors
    /// The log has failed.
    pub fn flush(&self) -> Result<(), Unavailable> {
        self.keeper().commit(true)
    }

    /// Flushes, signs, and takes no more records. Blocks.
    ///
    /// # Errors
    /// The log had failed before, or fails now.
    pub fn close(&self) -> Result<(), Unavailable> {
        self.keeper().close()
    }
}
