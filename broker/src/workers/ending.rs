//! The end of a call: everything of it is killed before its answer is passed on, and nothing of it
//! is left when a later call begins.
//!
//! Between the two the dead are buried, which takes longer than many a call: nobody waits for it but
//! the next call.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use super::{pool::Pool, spare::Spare};
use crate::container::{CallCgroup, Ended};

/// How long the processes of a call may take to end once they are killed.
const ENDING: Duration = Duration::from_secs(5);
/// A pause between two calls that is none: it is shorter than the making of a spare may take.
const LATELY: Duration = Duration::from_millis(20);

/// Calls that were answered and are not quite gone, by number.
#[derive(Debug, Default)]
pub(super) struct Endings {
    next: u64,
    open: BTreeSet<u64>,
    last: Option<Instant>,
}

/// A moment, as far as ends of calls are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(u64);

impl Endings {
    pub(super) fn now(&self) -> Moment {
        Moment(self.next)
    }

    /// Whether all calls are gone that were answered before the moment. Those answered since then ran
    /// beside whoever waits, and a busy tool would keep him waiting for ever.
    pub(super) fn over(&self, before: Moment) -> bool {
        self.open.first().is_none_or(|first| *first >= before.0)
    }

    /// Whether a call has ended a moment ago.
    pub(super) fn lately(&self) -> bool {
        self.last.is_some_and(|last| last.elapsed() < LATELY)
    }

    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.last = Some(Instant::now());
        self.open.insert(number);
        number
    }
}

/// Kernels note the time of a change by a clock that lags behind, by no more than this.
const COARSE: Duration = Duration::from_millis(100);

/// Calls that hold a spare, by number, with the milliseconds of the epoch at which each began.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    next: u64,
    open: BTreeMap<u64, u64>,
}

impl Beginnings {
    pub(super) fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let began = began.unwrap_or_default().saturating_sub(COARSE).as_millis();
        self.open
            .insert(number, u64::try_from(began).unwrap_or(u64::MAX));
        number
    }

    /// When the oldest began; nothing where none runs.
    pub(super) fn oldest(&self) -> Option<u64> {
        // A clock that was set back may have given a later call the earlier time.
        self.open.values().min().copied()
    }

    fn end(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.open.remove(&number);
        }
    }
}

/// A call that is over for its caller. Dropped when all of it is gone.
#[derive(Debug)]
struct Ending {
    pool: Arc<Pool>,
    number: u64,
    call: Option<u64>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.pool.released(self.number, self.call);
    }
}

impl Pool {
    /// Kills all processes of the call; what they used is all that its answer needs to know. Where the
    /// kernel has no stroke that kills them all, this waits until they are gone.
    pub(super) async fn strike(self: &Arc<Self>, spare: Spare) -> Ended {
        let ending = Ending {
            pool: Arc::clone(self),
            number: self.state().endings.begin(),
            call: spare.call,
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let Some(cgroup) = spare.into_cgroup() else {
            return Ended::default();
        };
        if !cgroup.kills_at_once() {
            let ended = end(cgroup).await;
            drop(ending);
            return ended.unwrap_or_default();
        }
        let ended = cgroup.measured();
        if let Err(error) = cgroup.kill() {
            tracing::warn!(%error, "cannot kill a call's processes");
        }
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            match cgroup.bury(ENDING, ending).await {
                Ok(Some(cgroup)) => pool.keep_group(cgroup),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot end a call's processes"),
            }
        });
        ended
    }

    /// Keeps the groups of a call that is gone for a spare that is on its way; where there is none, or
    /// the container is gone, they are removed.
    fn keep_group(&self, cgroup: CallCgroup) {
        let mut state = self.state();
        if state.groups.len() < state.ordered.len() && self.is_container_of(&cgroup) {
            state.groups.push(cgroup);
        } else {
            drop(state);
            drop(cgroup);
        }
    }

    /// One call has ended and all its processes with it.
    fn released(&self, number: u64, call: Option<u64>) {
        let mut state = self.state();
        state.endings.open.remove(&number);
        state.running.end(call);
        if state.running.oldest().is_some() {
            self.sweep(&mut state);
        } else if state.wiping.is_none() && !self.has_empty_tmp() {
            self.wipe(&mut state);
        }
        drop(state);
        self.order();
        self.changed.notify_waiters();
    }
}

/// Ends all that runs in a call's cgroup and removes it.
pub(super) async fn end(cgroup: CallCgroup) -> Option<Ended> {
    cgroup
        .end(ENDING)
        .await
        .inspect_err(|error| tracing::warn!(%error, "cannot end a call's processes"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_for_those_that_were_answered_before_it_came_and_for_no_others() {
        let mut endings = Endings::default();
        let first = endings.begin();
        let came = endings.now();
        assert!(!endings.over(came));
        let later = endings.begin();
        endings.open.remove(&first);
        assert!(endings.over(came));
        assert!(!endings.over(endings.now()));
        endings.open.remove(&later);
        assert!(endings.over(endings.now()));
    }
}
