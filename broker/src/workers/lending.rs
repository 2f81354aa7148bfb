//! Hands spares out to calls, one each.

use std::time::{Duration, Instant};

use super::{ending::Moment, pool::Pool, spare::Spare};

/// How often a waiting call looks again although nobody woke it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why no spare could be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSpare {
    #[error("no worker of `{component}` is attached; remedy: packctl up {pack}")]
    Detached { component: String, pack: String },
    #[error("`{component}` made no process for the call within {seconds} s{reason}")]
    Slow {
        component: String,
        seconds: u64,
        reason: String,
    },
}

impl Pool {
    /// Hands out a live spare, waiting for one up to `patience`.
    pub(super) async fn take(&self, patience: Duration) -> Result<Spare, NoSpare> {
        let (came, busy) = {
            let mut state = self.state();
            state.waiting += 1;
            (state.endings.now(), state.endings.lately())
        };
        let taken = self.wait_for_spare(came, patience).await;
        {
            let mut state = self.state();
            state.waiting = state.waiting.saturating_sub(1);
        }
        // What takes its place is ordered when the call is over, for its making would compete with
        // the call. Of a tool that is called without a pause, the next call needs it sooner.
        if busy {
            self.order();
        }
        taken
    }

    async fn wait_for_spare(&self, came: Moment, patience: Duration) -> Result<Spare, NoSpare> {
        let deadline = Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(spare) = self.try_take(came) {
                return Ok(spare);
            }
            self.order();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.no_spare(patience));
            }
            drop(tokio::time::timeout(left.min(LOOK_AGAIN), changed).await);
        }
    }

    fn try_take(&self, came: Moment) -> Option<Spare> {
        let mut state = self.state();
        // What earlier calls left is being ended and deleted; the next must not meet it.
        if state.wiping.is_some() || !state.endings.over(came) {
            return None;
        }
        while let Some(mut spare) = state.ready.pop_front() {
            if spare.alive() {
                spare.call = Some(state.running.begin());
                return Some(spare);
            }
        }
        None
    }

    fn no_spare(&self, patience: Duration) -> NoSpare {
        let component = self.spec.component.to_string();
        let state = self.state();
        if state.worker.is_none() {
            return NoSpare::Detached {
                component,
                pack: self.spec.component.pack().to_string(),
            };
        }
        NoSpare::Slow {
            component,
            seconds: patience.as_secs(),
            reason: state
                .last_failure
                .as_ref()
                .map(|message| format!(": {message}"))
                .unwrap_or_default(),
        }
    }
}
