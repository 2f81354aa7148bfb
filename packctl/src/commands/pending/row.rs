//! One request that waits, as it is shown.

use rumi_proto::v1::{PendingRequest, WaitingRequest};
use serde::Serialize;

use crate::{
    broker::{self, Client},
    failure::Failure,
    moment::Moment,
};

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) component: String,
    pub(super) permission: String,
    pub(super) request: String,
    pub(super) may_be_kept: bool,
    pub(super) invocation: String,
    pub(super) since_unix_ms: i64,
    pub(super) patience_ms: u64,
}

impl Row {
    pub(super) fn of(waiting: WaitingRequest) -> Self {
        Self {
            id: waiting.id,
            component: waiting.component_id,
            permission: waiting.permission,
            request: waiting.request,
            may_be_kept: waiting.may_be_kept,
            invocation: waiting.invocation,
            since_unix_ms: waiting.since_unix_ms,
            patience_ms: waiting.patience_ms,
        }
    }

    /// How long it has waited.
    pub(super) fn waits(&self, now: Moment) -> String {
        Moment::from_unix_ms(u64::try_from(self.since_unix_ms).unwrap_or(0)).ago(now)
    }
}

/// All that wait now, the oldest first.
pub(super) async fn waiting(client: &mut Client) -> Result<Vec<Row>, Failure> {
    let reply = client
        .pending(broker::question(PendingRequest {}))
        .await
        .map_err(|status| broker::refused(&status))?
        .into_inner();
    Ok(reply.requests.into_iter().map(Row::of).collect())
}
