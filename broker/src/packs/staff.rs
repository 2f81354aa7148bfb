//! Workers beyond the first, which init does not look after: started by the engine under
//! their component's uid, and started again when they end.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rumi_policy::ComponentId;

use crate::{
    container::{Engine, Running},
    workers::Pool,
};

/// How long a worker may be away before another is started in its place. Longer than the
/// longest pause between two attempts of a worker that lost its broker.
const AWAY: Duration = Duration::from_secs(2);
/// Longest pause between two starts of a worker that does not stay.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Looks after one worker for as long as its pool has its container.
pub(super) fn look_after(
    engine: &Engine,
    running: &Running,
    component: &ComponentId,
    pool: &Arc<Pool>,
) {
    let care = Care {
        engine: engine.clone(),
        running: running.clone(),
        component: component.clone(),
        pool: Arc::downgrade(pool),
    };
    tokio::spawn(care.run());
}

struct Care {
    engine: Engine,
    running: Running,
    component: ComponentId,
    pool: Weak<Pool>,
}

impl Care {
    async fn run(self) {
        let mut pause = AWAY;
        while let Some(pool) = self.pool.upgrade().filter(|pool| pool.in_container()) {
            if tokio::time::timeout(pause, pool.wait_attached())
                .await
                .is_ok()
            {
                pause = AWAY;
                pool.wait_detached().await;
                continue;
            }
            if !pool.in_container() {
                return;
            }
            drop(pool);
            tracing::warn!(component = %self.component, "starting a worker anew");
            if let Err(error) = self
                .engine
                .exec_worker(&self.running, &self.component)
                .await
            {
                tracing::warn!(component = %self.component, %error, "a worker could not be started");
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
