//! What is open stays open only as long as the policy would still open it.

use std::{sync::Arc, time::Duration};

use rumi_policy::{Capability, ComponentId, Denial, Reason};
use tokio::sync::watch;

use crate::policy_store::{self, PolicyStore};

/// A file that is being written is broken for a moment; only one that stays broken cuts.
const HALF_WRITTEN: Duration = Duration::from_millis(250);

/// Asks again whenever the policy changes.
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
            if let Err(denial) = self.again() {
                if !matches!(denial.reason, Reason::GrantInvalid | Reason::ScopeInvalid) {
                    return denial;
                }
                tokio::time::sleep(HALF_WRITTEN).await;
                if let Err(denial) = self.again() {
                    return denial;
                }
            }
            if self.changes.changed().await.is_err() {
                // The store lives as long as the process; without it nothing is allowed.
                return Denial::new(Reason::Revoked, "the broker is stopping");
            }
        }
    }

    fn again(&self) -> Result<(), Denial> {
        let policy = self.store.current();
        rumi_policy::decide::<C>(
            &policy.set,
            &self.component,
            self.ask.clone(),
            policy_store::now(),
        )
        .map(drop)
    }
}
