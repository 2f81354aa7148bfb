//! Waiting for what happens elsewhere.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Tries every few milliseconds until it holds; how long that took.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    loop {
        if holds() {
            return started.elapsed();
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
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
