//! Lets spares in: ordered ones only, each in a control group of its own before it may load
//! foreign code.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rumi_audit::Peer;

use super::{
    pool::Pool,
    spare::{Line, Spare},
};
use crate::{caller::CallSlot, container::CallCgroup};

/// Longest pause between orders when spares keep failing.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Names of calls' groups: components of one pack share a directory of groups, and so
/// no two pools may give the same name.
static GROUPS: AtomicU64 = AtomicU64::new(1);

impl Pool {
    /// Takes in a spare: into its cgroup first, then it may load foreign code.
    pub(super) async fn admit(&self, peer: Peer, stream: Box<dyn Line>) {
        {
            let mut state = self.state();
            if state.ordered.pop_front().is_none() {
                drop(state);
                tracing::debug!(component = %self.spec.component, "refused a spare that was not ordered");
                return;
            }
            state.loading += 1;
        }
        let admitted = self.admit_ordered(peer, stream).await;
        {
            let mut state = self.state();
            state.loading = state.loading.saturating_sub(1);
        }
        match admitted {
            Ok(spare) => {
                let failed = spare.broken().is_some();
                let mut state = self.state();
                state.ready.push_back(spare);
                if !failed {
                    state.failures = 0;
                    state.last_failure = None;
                }
                drop(state);
                self.changed.notify_waiters();
            }
            Err(message) => self.spare_failed(&message),
        }
    }

    async fn admit_ordered(&self, peer: Peer, stream: Box<dyn Line>) -> Result<Spare, String> {
        let container = self
            .cgroup
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or("its container is not known yet")?;
        let left = self.state().groups.pop();
        let left = left.filter(|cgroup| cgroup.lies_in(&container));
        let name = match &left {
            Some(cgroup) => cgroup.name().to_owned(),
            None => format!(
                "{}-{}",
                std::process::id(),
                GROUPS.fetch_add(1, Ordering::Relaxed)
            ),
        };
        let slot = Arc::new(CallSlot::default());
        {
            let mut state = self.state();
            state.slots.retain(|_, slot| slot.strong_count() > 0);
            state.slots.insert(name.clone(), Arc::downgrade(&slot));
        }
        let (memory, pids) = (self.spec.memory_bytes, self.spec.pids);
        // Moving a process between cgroups may take milliseconds when the kernel is cold.
        let cgroup = tokio::task::spawn_blocking(move || {
            let cgroup = match left {
                Some(cgroup) => cgroup,
                None => CallCgroup::create(&container, &name, memory, pids)?,
            };
            cgroup.add(i32::try_from(peer.pid).unwrap_or(0))?;
            Ok::<_, crate::container::CgroupError>(cgroup)
        })
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
        Spare::prepare(stream, cgroup, slot, &self.spec)
            .await
            .map_err(|error| error.to_string())
    }

    pub(super) fn spare_failed(&self, message: &str) {
        let shown: String = message.chars().take(500).collect();
        tracing::warn!(component = %self.spec.component, message = %shown.escape_default(), "a spare could not be made");
        let mut state = self.state();
        state.ordered.pop_front();
        state.last_failure = Some(shown);
        drop(state);
        self.pause_then_order();
    }

    /// Orders again after a pause that grows while failures follow each other.
    fn pause_then_order(&self) {
        let pause = {
            let mut state = self.state();
            state.failures = state.failures.saturating_add(1);
            Duration::from_millis(50)
                .saturating_mul(1 << state.failures.min(8))
                .min(LONGEST_PAUSE)
        };
        let me = self.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(pool) = me.upgrade() {
                pool.order();
                pool.changed.notify_waiters();
            }
        });
    }
}
