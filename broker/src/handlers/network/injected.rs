//! What the admin has the broker add to a request.

use http::HeaderMap;
use rumi_policy::{Confirmed, Network};

use crate::{
    pipeline::Context,
    refusal::{Failure, Refusal},
    secrets::{Carried, inject},
};

/// A request that cannot be given what its grant adds: nothing was sent.
#[derive(Debug)]
pub(super) struct Incomplete {
    /// For the pack, which learns no names.
    pub(super) refusal: Refusal,
    /// For the admin, in the record.
    pub(super) detail: serde_json::Value,
}

/// Puts the granted headers in the place of the pack's own.
pub(super) fn complete(
    context: Context<'_>,
    confirmed: &Confirmed<Network>,
    headers: &mut HeaderMap,
) -> Result<Carried, Incomplete> {
    let granted = confirmed.terms().inject();
    inject(headers, granted, context.broker.secrets()).map_err(|error| {
        let component = context.caller.component();
        tracing::error!(%component, %error, "a request could not be given its headers");
        let message = format!(
            "an admin has the broker add a header to requests to `{}`, and what belongs into it is not there; nothing was sent",
            confirmed.ask().host()
        );
        Incomplete {
            refusal: Refusal::failed(Failure::Unavailable, message),
            detail: serde_json::json!({ "inject": error.to_string() }),
        }
    })
}

/// The same detail of an outcome, with the names of the headers that were added.
pub(super) fn noted(detail: serde_json::Value, carried: &Carried) -> serde_json::Value {
    let mut detail = detail;
    if let Some(fields) = detail.as_object_mut()
        && !carried.names().is_empty()
    {
        fields.insert("injected".to_owned(), carried.names().into());
    }
    detail
}
