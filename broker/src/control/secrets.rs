//! `packctl secret`: values come in and never go out.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use rumi_audit::{Admin, Peer};
use rumi_policy::{ComponentId, EnvKey, PolicySet};
use rumi_proto::v1;
use serde_json::json;
use tonic::Status;
use zeroize::{Zeroize as _, Zeroizing};

use super::ControlService;
use crate::secrets::{Secret, StoreError};

impl ControlService {
    pub(super) async fn keep_secret(
        &self,
        actor: Peer,
        mut request: v1::SecretSetRequest,
    ) -> Result<v1::SecretSetResponse, Status> {
        let value = taken(std::mem::take(&mut request.value));
        let name = secret_name(&request.name)?;
        let value =
            Secret::check(value).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let store = Arc::clone(self.packs.broker().secrets());
        let replaced = store.entries().map_err(refused)?.contains_key(&name);
        // Equal values can be told apart from others in the log, and none can be guessed.
        let fingerprint = self
            .packs
            .broker()
            .audit()
            .fingerprint(value.text().as_bytes());
        let detail = json!({"value_hmac": fingerprint});
        self.note(actor, "secret_set", &name, None, Some(&detail))
            .await?;
        let kept = name.clone();
        let done = blocking(move || store.set([(kept, value)])).await?;
        let version = self.settled(actor, "secret_set", &name, done).await?;
        Ok(v1::SecretSetResponse { version, replaced })
    }

    pub(super) async fn forget_secret(
        &self,
        actor: Peer,
        request: v1::SecretRemoveRequest,
    ) -> Result<v1::SecretRemoveResponse, Status> {
        let name = secret_name(&request.name)?;
        let store = Arc::clone(self.packs.broker().secrets());
        if !store.entries().map_err(refused)?.contains_key(&name) {
            return Err(Status::not_found(format!(
                "there is no secret `{name}`; remedy: packctl secret ls"
            )));
        }
        self.note(actor, "secret_remove", &name, None, None).await?;
        let gone = name.clone();
        let done = blocking(move || store.remove(&gone)).await?;
        self.settled(actor, "secret_remove", &name, done).await?;
        let policy = self.packs.broker().policy().current();
        Ok(v1::SecretRemoveResponse {
            used_by: users(&policy.set, &name),
        })
    }

    pub(super) fn list_secrets(&self) -> Result<v1::SecretListResponse, Status> {
        let broker = self.packs.broker();
        let entries = broker.secrets().entries().map_err(refused)?;
        let policy = broker.policy().current();
        let secrets = entries
            .into_iter()
            .map(|(name, entry)| v1::SecretEntry {
                version: entry.version,
                changed_unix_ms: entry.changed_ms,
                used_by: users(&policy.set, &name),
                name: name.to_string(),
            })
            .collect();
        Ok(v1::SecretListResponse { secrets })
    }

    async fn note(
        &self,
        actor: Peer,
        action: &str,
        name: &EnvKey,
        reason: Option<&str>,
        detail: Option<&serde_json::Value>,
    ) -> Result<(), Status> {
        let record = Admin {
            actor,
            action,
            target: name.as_str().as_bytes(),
            pack: None,
            component: None,
            reason,
            detail,
        };
        let recorded = self.packs.broker().audit().admin(record).await;
        recorded.map(drop).map_err(|error| {
            Status::unavailable(format!(
                "the audit log cannot be written, so nothing is done: {error}"
            ))
        })
    }

    /// A change that was announced and did not happen must not stand in the log as if it had.
    async fn settled<T>(
        &self,
        actor: Peer,
        action: &str,
        name: &EnvKey,
        done: Result<T, Arc<StoreError>>,
    ) -> Result<T, Status> {
        match done {
            Ok(done) => Ok(done),
            Err(error) => {
                self.note(actor, action, name, Some("failed"), None).await?;
                Err(refused(error))
            }
        }
    }
}

/// Takes a value out of the message, and wipes it there as far as nobody else holds the buffer.
fn taken(received: Bytes) -> Zeroizing<Vec<u8>> {
    let value = Zeroizing::new(received.to_vec());
    if let Ok(mut buffer) = received.try_into_mut() {
        buffer.as_mut().zeroize();
    }
    value
}

/// What is typed for a name may be a value by mistake, and is therefore not repeated.
fn secret_name(text: &str) -> Result<EnvKey, Status> {
    text.parse().map_err(|error: rumi_policy::SpellingError| {
        Status::invalid_argument(format!(
            "the name of the secret is not valid: {}",
            error.why()
        ))
    })
}

fn refused(error: Arc<StoreError>) -> Status {
    Status::failed_precondition(error.to_string())
}

/// Sealing waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_ended| Status::internal("the change ended early"))
}

/// Components whose grants name the secret.
pub(super) fn users(set: &PolicySet, name: &EnvKey) -> Vec<String> {
    let users: BTreeSet<&ComponentId> = set
        .components()
        .filter(|component| {
            set.grant(component)
                .is_some_and(|grant| grant.names_secret(name))
        })
        .collect();
    users.into_iter().map(ToString::to_string).collect()
}
