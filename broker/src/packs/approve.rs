//! Nothing of an admin's pack is built or started that an admin did not approve as it is.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_audit::{Admin, Peer, RecordId};
use rumi_policy::{PackId, Reason};
use serde_json::{Value, json};

use super::{
    Entry, Packs,
    load::{LoadError, Source},
    start::{Progress, StartError, interrupted},
};
use crate::{
    approval::{Approval, Facts, Review},
    container::BuildError,
};

/// On whose word a pack is built and started.
#[derive(Debug, Clone, Copy)]
pub enum Word {
    /// The broker's own, for packs that it made of handlers.
    Own,
    /// An admin's, who approved the pack before.
    Admin(Peer),
    /// An admin's, who approves it now, whatever it is.
    Unseen(Peer),
}

impl Word {
    fn actor(self) -> Option<Peer> {
        match self {
            Self::Own => None,
            Self::Admin(actor) | Self::Unseen(actor) => Some(actor),
        }
    }
}

/// An approval that was given.
#[derive(Debug)]
pub struct Approved {
    /// The record of it.
    pub record: RecordId,
    /// What was approved.
    pub digest: String,
}

impl Packs {
    /// Reads a pack for a build, if it is what was approved or is approved now.
    pub(super) async fn admitted(
        &self,
        id: &PackId,
        entry: &Arc<Entry>,
        word: Word,
        progress: Progress<'_>,
    ) -> Result<Arc<Source>, StartError> {
        let source = self.read(id).await.inspect_err(|error| {
            // A name that no directory bears must not stay behind among the packs.
            if let StartError::Load(LoadError::Missing { .. } | LoadError::Reserved { .. }) = error
            {
                self.forget(id, entry);
            }
        })?;
        // What handlers are made of is the admin's own, and so is the directory it lies in.
        if id.is_reserved() {
            return Ok(source);
        }
        let before = self.broker.approvals().of(id)?;
        let digest = source.blueprint.digest();
        if before.as_ref().is_none_or(|before| before.digest != digest) {
            let Word::Unseen(actor) = word else {
                return Err(self.refuse(id, entry, word, &source, before).await);
            };
            self.give(id, actor, &source, before, true).await?;
            progress("approved as it is, without a look (--yes)");
        }
        entry.inner().waits = false;
        if source.blueprint.is_networked()
            && let Some(actor) = word.actor()
        {
            self.note(id, actor, "build_with_network", None, None)
                .await?;
        }
        Ok(source)
    }

    /// What an admin should know of a pack before it is approved.
    ///
    /// # Errors
    /// When the pack is not valid. An approval that cannot be read is said in the review.
    pub async fn review(&self, id: &PackId) -> Result<Review, StartError> {
        let source = self.read(id).await?;
        let (before, problem) = match self.broker.approvals().of(id) {
            Ok(before) => (before, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let facts = facts(&source).await?;
        let mut review = Review::new(source.blueprint.digest(), &facts, before);
        review.problem = problem;
        Ok(review)
    }

    /// Approves a pack as it was shown under this digest.
    ///
    /// # Errors
    /// When its files are others by now, or the approval cannot be recorded or kept.
    pub async fn approve(
        &self,
        id: &PackId,
        digest: &str,
        actor: Peer,
    ) -> Result<Approved, StartError> {
        let source = self.read(id).await?;
        if source.blueprint.digest() != digest {
            return Err(StartError::NotShown { pack: id.clone() });
        }
        // One that cannot be read is replaced: the admin was told, and was shown everything anew.
        let before = self.broker.approvals().of(id).unwrap_or_else(|error| {
            tracing::warn!(pack = %id, %error, "an approval that cannot be read is replaced");
            None
        });
        let record = self.give(id, actor, &source, before, false).await?;
        if let Some(entry) = self.known(id) {
            entry.inner().waits = false;
        }
        Ok(Approved {
            record,
            digest: digest.to_owned(),
        })
    }

    /// Takes the approval of a pack back, also of one whose files are gone or whose approval cannot be read;
    /// the record of it, or nothing where there is no approval. What runs goes on.
    ///
    /// # Errors
    /// When it cannot be recorded or removed.
    pub async fn disapprove(
        &self,
        id: &PackId,
        actor: Peer,
    ) -> Result<Option<RecordId>, StartError> {
        let before = match self.broker.approvals().of(id) {
            Ok(None) => return Ok(None),
            Ok(Some(before)) => Some(before.digest),
            Err(error) => {
                tracing::warn!(pack = %id, %error, "an approval that cannot be read is taken back");
                None
            }
        };
        let detail = json!({ "before": before });
        let record = self
            .note(id, actor, "disapprove", None, Some(&detail))
            .await?;
        self.broker.approvals().remove(id)?;
        Ok(Some(record))
    }

    /// Whether a pack may be started as it was read.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_approved(&self, source: &Source) -> Result<bool, StartError> {
        let before = self.broker.approvals().of(&source.pack.manifest.id)?;
        Ok(before.is_some_and(|before| before.digest == source.blueprint.digest()))
    }

    async fn refuse(
        &self,
        id: &PackId,
        entry: &Arc<Entry>,
        word: Word,
        source: &Arc<Source>,
        before: Option<Approval>,
    ) -> StartError {
        entry.inner().waits = true;
        let digest = source.blueprint.digest();
        let detail = json!({
            "digest": digest,
            "approved": before.as_ref().map(|before| &before.digest),
        });
        if let Some(actor) = word.actor() {
            let reason = Some(Reason::NotApproved.as_str());
            let noted = self.note(id, actor, "not_started", reason, Some(&detail));
            if let Err(error) = noted.await {
                return error;
            }
        }
        match facts(source).await {
            Ok(facts) => StartError::NotApproved {
                pack: id.clone(),
                review: Box::new(Review::new(digest, &facts, before)),
            },
            Err(error) => error,
        }
    }

    /// The record comes first: an approval that nobody can find in the log is none.
    async fn give(
        &self,
        id: &PackId,
        actor: Peer,
        source: &Arc<Source>,
        before: Option<Approval>,
        unseen: bool,
    ) -> Result<RecordId, StartError> {
        let digest = source.blueprint.digest();
        let approval = Approval {
            digest: digest.to_owned(),
            unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            uid: actor.uid,
            unseen,
            facts: facts(source).await?,
        };
        let detail = json!({
            "digest": digest,
            "before": before.map(|before| before.digest),
            "networked": source.blueprint.is_networked(),
            "how": if unseen { "unseen, by --yes" } else { "shown" },
        });
        let record = self.note(id, actor, "approve", None, Some(&detail)).await?;
        self.broker.approvals().keep(id, &approval)?;
        Ok(record)
    }

    async fn note(
        &self,
        id: &PackId,
        actor: Peer,
        action: &str,
        reason: Option<&str>,
        detail: Option<&Value>,
    ) -> Result<RecordId, StartError> {
        let record = Admin {
            actor,
            action,
            target: id.as_str().as_bytes(),
            pack: Some(id.as_str()),
            component: None,
            reason,
            detail,
        };
        Ok(self.broker.audit().admin(record).await?)
    }
}

async fn facts(source: &Arc<Source>) -> Result<Facts, StartError> {
    let source = Arc::clone(source);
    let gather = move || Facts::of(&source.pack.manifest, &source.blueprint);
    match tokio::task::spawn_blocking(gather).await {
        Ok(facts) => Ok(facts.map_err(BuildError::from)?),
        Err(error) => Err(interrupted(error)),
    }
}
