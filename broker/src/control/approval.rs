//! What an admin is shown of a pack, and the approval of it.

use rumi_audit::Peer;
use rumi_policy::{Grant, PackId};
use rumi_proto::v1;
use serde_json::Value;
use tonic::Status;

use super::{ControlService, pack_id, packs::said};
use crate::{
    approval::{Approval, Change, Item, Review, Subject},
    packs::{Packs, StartError},
};

impl ControlService {
    pub(super) async fn reviews(&self, names: &[String]) -> Result<v1::ReviewResponse, Status> {
        let mut reviews = Vec::new();
        for pack in self.named(names)? {
            let review = self.packs.review(&pack).await.map_err(refused)?;
            reviews.push(shown(&self.packs, &pack, review));
        }
        Ok(v1::ReviewResponse { reviews })
    }

    pub(super) async fn approve_pack(
        &self,
        actor: Peer,
        request: v1::ApproveRequest,
    ) -> Result<v1::ApproveResponse, Status> {
        let pack = pack_id(&request.pack)?;
        for pack in self.named(std::slice::from_ref(&request.pack))? {
            if pack.is_reserved() {
                return Err(Status::invalid_argument(format!(
                    "`{pack}` is a custom handler, which needs no approval"
                )));
            }
        }
        let approved = self.packs.approve(&pack, &request.digest, actor).await;
        let approved = approved.map_err(refused)?;
        tracing::info!(%pack, digest = %approved.digest, uid = actor.uid, "approved");
        Ok(v1::ApproveResponse {
            record: approved.record.to_string(),
        })
    }

    pub(super) async fn disapprove_pack(
        &self,
        actor: Peer,
        request: &v1::DisapproveRequest,
    ) -> Result<v1::DisapproveResponse, Status> {
        let pack = pack_id(&request.pack)?;
        let record = self.packs.disapprove(&pack, actor).await;
        let Some(record) = record.map_err(refused)? else {
            return Err(Status::not_found(format!("`{pack}` is not approved")));
        };
        tracing::info!(%pack, uid = actor.uid, "approval taken back");
        Ok(v1::DisapproveResponse {
            record: record.to_string(),
            runs: self.packs.running(&pack).is_some(),
        })
    }
}

/// A review as it goes over the wire, with what its components may already.
pub(super) fn shown(packs: &Packs, pack: &PackId, review: Review) -> v1::Review {
    let approved = review.is_approved();
    let grants = granted(packs, pack);
    v1::Review {
        pack: pack.to_string(),
        approved,
        digest: review.digest,
        before: review.before.as_ref().map(before),
        problem: review.problem.unwrap_or_default(),
        items: review.items.into_iter().chain(grants).map(item).collect(),
        files: review.files,
        bytes: review.bytes,
    }
}

fn before(approval: &Approval) -> v1::PackApproval {
    v1::PackApproval {
        digest: approval.digest.clone(),
        unix: i64::try_from(approval.unix).unwrap_or(i64::MAX),
        uid: approval.uid,
        unseen: approval.unseen,
    }
}

fn item(item: Item) -> v1::ReviewItem {
    v1::ReviewItem {
        subject: item.subject.as_str().to_owned(),
        change: item.change.as_str().to_owned(),
        name: item.name,
        before: item.before,
        now: item.now,
    }
}

/// Grants are by name: what was given to a pack of this name is given to whatever bears it.
fn granted(packs: &Packs, pack: &PackId) -> Vec<Item> {
    let policy = packs.broker().policy().current();
    let components = policy.set.components();
    let of_pack = components.filter(|component| component.pack_str() == pack.as_str());
    let grant = |component| {
        let given = given(policy.set.grant(component)?);
        let item = Item {
            subject: Subject::Grant,
            change: Change::Same,
            name: component.to_string(),
            before: given.clone(),
            now: given,
        };
        Some(item).filter(|item| !item.now.is_empty())
    };
    of_pack.filter_map(grant).collect()
}

/// The names of the permissions that are switched on.
fn given(grant: &Grant) -> String {
    let all = serde_json::to_value(grant.permissions()).unwrap_or_default();
    let enabled = |value: &Value| value.get("enabled") == Some(&Value::Bool(true));
    let names = all.as_object().into_iter().flatten();
    let names = names
        .filter(|(_, value)| enabled(value))
        .map(|(name, _)| name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn refused(error: StartError) -> Status {
    let (message, remedy) = said(&error);
    let text = if remedy.is_empty() {
        message
    } else {
        format!("{message}; remedy: {remedy}")
    };
    match error {
        StartError::NotShown { .. } => Status::permission_denied(text),
        StartError::Audit(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}
