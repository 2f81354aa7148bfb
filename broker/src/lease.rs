//! What is open stays open only as long as the policy would still open it.

use std::{sync::Arc, time::Duration};

use rumi_policy::{Capability, ComponentId, Denial, Reason, UnixMillis};
use tokio::sync::watch;

use crate::policy_store::{self, PolicyStore};

/// A file that is being written is broken for a moment; only one that stays broken cuts.
const HALF_WRITTEN: Duration = Duration::from_millis(250);

/// How long a lease that will end goes unlooked at, because the clock of the host may be put forward meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// Asks again whenever the policy changes, and when the grant ends.
#[derive(Debug)]
pub struct Lease<C: Capability> {
    store: Arc<PolicyStore>,
    component: ComponentId,
    ask: C::Ask,
    changes: watch::Receiver<u64>,
}

impl<C: Capability> Lease<C> {
    /// A lease on what has just been allowed.
    #[must_use]
    pub fn new(store: &Arc<PolicyStore>, component: &ComponentId, ask: C::Ask) -> Self {
        Self {
            store: Arc::clone(store),
            component: component.clone(),
            ask,
            changes: store.subscribe(),
        }
    }

    /// Resolves when the policy no longer allows it; never before.
    pub async fn revoked(&mut self) -> Denial {
        loop {
            // Asked once before waiting, for the policy may have changed since the decision.
            let end = match self.again() {
                Ok(end) => end,
                Err(denial) => {
                    if !matches!(denial.reason, Reason::GrantInvalid | Reason::ScopeInvalid) {
                        return denial;
                    }
                    tokio::time::sleep(HALF_WRITTEN).await;
                    match self.again() {
                        Ok(end) => end,
                        Err(denial) => return denial,
                    }
                }
            };
            let changed = tokio::select! {
                changed = self.changes.changed() => changed,
                () = passed(end) => Ok(()),
            };
            if changed.is_err() {
                // The store lives as long as the process; without it nothing is allowed.
                return Denial::new(Reason::Revoked, "the broker is stopping");
            }
        }
    }

    /// Whether it would be allowed now, and when that ends. A lease is no further use.
    fn again(&self) -> Result<Option<UnixMillis>, Denial> {
        let policy = self.store.current();
        rumi_policy::decide::<C>(
            &policy.set,
            &self.component,
            self.ask.clone(),
            policy_store::now(),
        )
        .map(|permit| {
            let end = permit.conditions().expires_at();
            end.map(|end| end.millis())
        })
    }
}

/// Resolves when it may be time; never where there is no end.
async fn passed(end: Option<UnixMillis>) {
    let Some(end) = end else {
        return std::future::pending().await;
    };
    let left = end.0.saturating_sub(policy_store::now().0);
    tokio::time::sleep(Duration::from_millis(left).min(LONGEST_SLEEP)).await;
}
