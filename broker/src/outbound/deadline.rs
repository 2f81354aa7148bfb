//! One point in time that a whole request must keep.

use std::{future::Future, time::Duration};

use rumi_policy::{Confirmed, Network};
use tokio::time::Instant;

/// The deadline had passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed;

/// The earlier of what the caller wishes and what the policy allows from now on.
pub(super) fn earlier(confirmed: &Confirmed<Network>, wished: Instant) -> Instant {
    let allowed = Duration::from_millis(confirmed.terms().timeout_ms());
    Instant::now()
        .checked_add(allowed)
        .map_or(wished, |latest| latest.min(wished))
}

/// Awaits `work`, and drops it when the deadline passes first.
pub(super) async fn before<T>(
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Result<T, Passed> {
    tokio::time::timeout_at(deadline, work)
        .await
        .map_err(|_elapsed| Passed)
}
