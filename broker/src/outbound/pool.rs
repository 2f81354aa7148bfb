//! Connections to servers that wait for the next request of the same component under the same policy.
//!
//! Each component has a pool of its own. A connection is taken again only for the same scheme, host and port, to an
//! address that was judged for the new request, and under the policy it was opened under.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rumi_policy::{Host, NetworkAsk, PolicyHash, Port, Scheme};
use tokio::{task::AbortHandle, time::Instant};

use super::upstream::Sender;
use crate::policy_store::PolicyStore;

/// Connections that wait at once, whatever they lead to.
const KEPT: usize = 8;
/// How long one may wait.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often those that have waited too long are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    scheme: Scheme,
    host: Host,
    port: Port,
}

impl Route {
    pub(crate) fn of(ask: &NetworkAsk) -> Self {
        Self {
            scheme: ask.scheme(),
            host: ask.host().clone(),
            port: ask.port(),
        }
    }
}

/// One connection to a server, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) route: Route,
    pub(super) address: IpAddr,
    pub(super) sender: Sender,
    pub(super) driver: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The connections of one component that wait.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    policy: Option<PolicyHash>,
    lines: Vec<(Instant, Line)>,
    swept: bool,
}

impl Pool {
    /// A connection that is still open, if one waits that may be used for this.
    pub(crate) fn take(
        &self,
        policy: PolicyHash,
        route: &Route,
        addresses: &[IpAddr],
    ) -> Option<Line> {
        let mut shelf = self.shelf();
        shelf.under(policy);
        shelf.lines.retain(|(_, line)| !line.sender.is_closed());
        let fits = |line: &Line| line.route == *route && addresses.contains(&line.address);
        let found = shelf.lines.iter().rposition(|(_, line)| fits(line))?;
        Some(shelf.lines.remove(found).1)
    }

    /// Lets a connection wait, unless the policy has changed since it was opened.
    pub(crate) fn keep(self: &Arc<Self>, store: &Arc<PolicyStore>, policy: PolicyHash, line: Line) {
        let changes = store.subscribe();
        if store.current().set.hash() != policy {
            return;
        }
        let mut shelf = self.shelf();
        shelf.under(policy);
        if shelf.lines.len() >= KEPT {
            shelf.lines.remove(0);
        }
        shelf.lines.push((Instant::now(), line));
        if !shelf.swept {
            shelf.swept = true;
            tokio::spawn(sweep(Arc::clone(self), Arc::clone(store), changes));
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Lets go of what was opened under another policy.
    fn under(&mut self, policy: PolicyHash) {
        if self.policy != Some(policy) {
            self.lines.clear();
            self.policy = Some(policy);
        }
    }
}

/// Closes what has waited too long, and everything when the policy changes.
async fn sweep(
    pool: Arc<Pool>,
    store: Arc<PolicyStore>,
    mut changes: tokio::sync::watch::Receiver<u64>,
) {
    loop {
        let told = tokio::time::timeout(SWEEP, changes.changed()).await;
        let mut shelf = pool.shelf();
        shelf.under(store.current().set.hash());
        shelf
            .lines
            .retain(|(since, line)| since.elapsed() < PATIENCE && !line.sender.is_closed());
        if shelf.lines.is_empty() || matches!(told, Ok(Err(_))) {
            shelf.lines.clear();
            shelf.swept = false;
            return;
        }
    }
}
