//! Deletes what calls left in /tmp.

use std::sync::{PoisonError, atomic::Ordering};

use rumi_proto::v1::{self, worker_command::Command};

use super::pool::{Pool, State};

impl Pool {
    /// Takes over a container from a broker that crashed, perhaps in the middle of a call: what
    /// that call left in /tmp is deleted before the next begins. Its worker may be back already, or come later.
    pub fn take_over(&self) {
        // What lies in the /tmp of a service is in use.
        if !self.spec.service {
            self.wipe(&mut self.state());
        }
    }

    /// Whether the kernel counts nothing in the container's /tmp. Then nothing needs deleting, and the
    /// next call need not wait for a worker to say so.
    pub(super) fn has_empty_tmp(&self) -> bool {
        let tmp = self.tmp.read().unwrap_or_else(PoisonError::into_inner);
        tmp.as_ref().is_some_and(|tmp| tmp.is_empty())
    }

    /// No call begins before the wipe is confirmed; where there is no worker to be told,
    /// the next one that attaches is.
    pub(super) fn wipe(&self, state: &mut State) {
        let wipe_id = self.next.fetch_add(1, Ordering::Relaxed);
        state.wiping = Some(wipe_id);
        let told = state.tell(Command::Wipe(v1::Wipe {
            wipe_id,
            untouched_since_ms: 0,
        }));
        if !told {
            // A worker that does not read its commands is cut off, and attaches anew.
            state.worker = None;
        }
    }

    /// Where calls always run beside one another, nothing would ever be wiped: has what is older than
    /// all of them deleted, when it takes up too much.
    pub(super) fn sweep(&self, state: &mut State) {
        let Some(oldest) = state.running.oldest() else {
            return;
        };
        let tmp = self.tmp.read().unwrap_or_else(PoisonError::into_inner);
        if state.sweeping.is_some() || !tmp.as_ref().is_some_and(|tmp| tmp.is_half_full()) {
            return;
        }
        let wipe_id = self.next.fetch_add(1, Ordering::Relaxed);
        let told = state.tell(Command::Wipe(v1::Wipe {
            wipe_id,
            untouched_since_ms: oldest,
        }));
        state.sweeping = told.then_some(wipe_id);
    }

    pub(super) fn wiped(&self, wipe_id: u64) {
        let mut state = self.state();
        if state.sweeping == Some(wipe_id) {
            state.sweeping = None;
        }
        if state.wiping == Some(wipe_id) {
            state.wiping = None;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::sync::mpsc;
    use tonic::Status;

    use super::{
        super::spec::{Program, ToolSpec},
        *,
    };

    fn pool() -> Arc<Pool> {
        Pool::new(ToolSpec {
            component: "p:tool:t".parse().unwrap(),
            program: Program::Python {
                interpreter: String::new(),
                named_by: None,
            },
            working_dir: None,
            env: Vec::new(),
            entry: String::new(),
            timeout: Duration::ZERO,
            memory_bytes: 0,
            pids: 0,
            output_bytes: 0,
            spares: 0,
            service: false,
        })
    }

    /// The wipe that a worker is told of, which it then confirms.
    fn confirm_wipe(pool: &Pool, told: &mut mpsc::Receiver<Result<v1::WorkerCommand, Status>>) {
        let said = told.try_recv().expect("it is told").unwrap();
        let Some(Command::Wipe(wipe)) = said.command else {
            panic!("{said:?}");
        };
        assert!(pool.state().wiping.is_some());
        pool.wiped(wipe.wipe_id);
        assert!(pool.state().wiping.is_none());
    }

    #[test]
    fn a_pool_that_is_taken_over_is_wiped_whether_its_worker_is_back_before_or_after() {
        let before = pool();
        let (commands, mut told) = mpsc::channel(8);
        let _attachment = before.attached(commands, "0");
        before.take_over();
        confirm_wipe(&before, &mut told);

        let after = pool();
        after.take_over();
        let (commands, mut told) = mpsc::channel(8);
        let _attachment = after.attached(commands, "0");
        confirm_wipe(&after, &mut told);
    }
}
