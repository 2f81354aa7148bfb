//! Waiting for what happens elsewhere.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// How much later than promised something may be seen on a machine that builds and tests beside it.
/// What is promised is short against this, and what a broken promise would take is long.
const LATE: Duration = Duration::from_secs(6);

/// Fails when something promised for a time took longer.
#[track_caller]
pub fn in_time(since: Instant, promised: Duration) {
    let took = since.elapsed();
    assert!(took < promised + LATE, "{took:?}, promised: {promised:?}");
}

/// Tries every few milliseconds until it holds; how long that took.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    loop {
        if holds() {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < limit + LATE,
            "not within {limit:?}: {what}"
        );
        sleep(Duration::from_millis(5));
    }
}

/// As [`within`], for what has no promised time.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(Duration::from_secs(15), what, holds);
}

/// As [`within`], the other way round.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, holds: impl FnMut() -> bool) {
    within(limit, what, holds);
}
