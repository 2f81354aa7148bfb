//! Secrets that a run has in its environment, by name. Each is asked for in the name of the run, decided by its grant
//! and recorded like every other reading of a value.

use std::sync::Arc;

use rumi_audit::Peer;
use rumi_policy::{ComponentId, EnvKey, EnvReadAsk};

use super::{request::Order, rights::DEFAULT};
use crate::{
    broker::Broker,
    caller::{Behalf, CallSlot, Caller, Identity, Invocation},
    handlers::EnvHandler,
    pipeline,
    refusal::Refusal,
    secrets::Secret,
    vetting::Mask,
};

/// Why a run is not given a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Its grant does not allow it, or it has no value.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store has no such secret.
    #[error("there is no secret `{0}`; remedy: packctl secret set {0}")]
    Missing(EnvKey),
    /// The store cannot be used.
    #[error("the secrets cannot be read; `packctl doctor` says why")]
    Store,
}

impl CredentialError {
    /// The same with what would allow it, where the policy knows that. The run's own name means nothing to whoever
    /// reads it: what he can change is the grant that he gives, or the one for all code.
    pub(super) fn with_remedy(
        self,
        invocation: &Invocation,
        order: &Order,
        component: &ComponentId,
    ) -> Self {
        let Self::Refused(Refusal::Denied {
            reason,
            sentence,
            record,
        }) = self
        else {
            return self;
        };
        let mut denials = invocation.denials().into_iter();
        let denial = denials.find(|denial| denial.record == record);
        let command = denial.map(|denial| denial.remedy).unwrap_or_default();
        let sentence = match command.as_str() {
            "" => sentence,
            _ if order.grant.is_some() => {
                format!("{sentence}; remedy: allow `env_read` of it in the grant given by --grant")
            }
            command => {
                let command = command.replace(component.as_str(), DEFAULT);
                format!(
                    "{sentence}; remedy: give --grant FILE that allows `env_read` of it, or {command}"
                )
            }
        };
        Self::Refused(Refusal::Denied {
            reason,
            sentence,
            record,
        })
    }
}

/// A variable, and the secret that is its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) variable: EnvKey,
    pub(super) secret: EnvKey,
}

/// Values that were handed out.
#[derive(Debug, Default)]
pub(super) struct Lent(Vec<(EnvKey, Secret)>);

impl Lent {
    /// Asks for each.
    pub(super) async fn fetch(
        broker: &Broker,
        identity: &Arc<Identity>,
        actor: Peer,
        invocation: &Arc<Invocation>,
        wanted: &[Credential],
    ) -> Result<Self, CredentialError> {
        let mut lent = Vec::with_capacity(wanted.len());
        for Credential { variable, secret } in wanted {
            let call = Arc::new(CallSlot::default());
            call.begin(Arc::clone(invocation));
            let caller = Caller::new(Arc::clone(identity), actor, Behalf::Call(call));
            let ask = EnvReadAsk::One(secret.clone());
            pipeline::run(broker, &caller, ask, EnvHandler).await?;
            // What was allowed is a name; the value is the store's and nobody else's.
            let value = broker.secrets().get(secret).map_err(|error| {
                tracing::error!(%error, "the secrets cannot be read");
                CredentialError::Store
            })?;
            let value = value.ok_or_else(|| CredentialError::Missing(secret.clone()))?;
            lent.push((variable.clone(), value));
        }
        Ok(Self(lent))
    }

    /// The variables, for the environment.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0
            .iter()
            .map(|(variable, value)| (variable.to_string(), value.text().to_owned()))
    }

    /// Takes the values out of what the run says.
    pub(super) fn mask(&self) -> Mask {
        Mask::new(self.0.iter().map(|(_, value)| value.text().as_bytes()))
    }
}
