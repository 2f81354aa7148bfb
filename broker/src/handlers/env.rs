//! `env_read`: one key, or the allowed keys that exist.

use std::collections::BTreeMap;

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, EnvFound, EnvRead, EnvReadAsk, Permit};

use crate::{
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
    secrets::Secret,
};

/// Serves one request for values.
#[derive(Debug)]
pub struct EnvHandler;

impl Handler<EnvRead> for EnvHandler {
    type Handle = BTreeMap<String, Secret>;
    type Reply = BTreeMap<String, Secret>;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<EnvRead>>,
    ) -> Result<(EnvFound, Self::Handle), Refusal> {
        let values = context
            .broker
            .values()
            .get(permit.get().terms().keys())
            .map_err(|error| {
                tracing::error!(%error, "a source of values cannot be read");
                Refusal::failed(Failure::Internal, "a source of values cannot be read")
            })?;
        if let EnvReadAsk::One(key) = permit.get().ask()
            && values.is_empty()
        {
            return Err(Refusal::failed(
                Failure::NotFound,
                format!("`{key}` is allowed but has no value here"),
            ));
        }
        let bytes: usize = values.values().map(|value| value.text().len()).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Ok((EnvFound { bytes }, values))
    }

    async fn perform(
        self,
        context: Context<'_>,
        _permit: &Recorded<Confirmed<EnvRead>>,
        values: Self::Handle,
    ) -> Performed<Self::Reply> {
        // The log proves which value was handed out without holding it.
        let fingerprints: serde_json::Map<String, serde_json::Value> = values
            .iter()
            .map(|(key, value)| {
                let fingerprint = context.broker.audit().fingerprint(value.text().as_bytes());
                (key.clone(), fingerprint.into())
            })
            .collect();
        let bytes: usize = values.values().map(|value| value.text().len()).sum();
        Performed {
            bytes_in: 0,
            bytes_out: u64::try_from(bytes).unwrap_or(u64::MAX),
            detail: Some(serde_json::json!({ "values_hmac": fingerprints })),
            result: Ok(values),
        }
    }
}
