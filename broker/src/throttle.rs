//! Slows down a component that is refused again and again, so that it cannot fill the disk with
//! the records of its refusals. Nothing is dropped: it waits, and each decision is recorded.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Refusals that cost no time.
const BURST: u32 = 2_000;
/// Time that each refusal beyond the burst takes; as much is regained while nothing is refused.
const PACE: Duration = Duration::from_millis(5);

/// The pace of one component (a generic cell rate algorithm).
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the refusals so far would have happened at the steady pace.
    booked: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Takes a turn; resolves when it has come.
    pub async fn turn(&self) {
        let wait = self.book(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn book(&self, now: Instant) -> Duration {
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        let next = booked.map_or(now, |booked| booked.max(now)) + PACE;
        *booked = Some(next);
        let ahead = next.saturating_duration_since(now);
        ahead.saturating_sub(PACE.saturating_mul(BURST))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BURST, PACE, Throttle};

    #[test]
    fn a_burst_is_free_and_what_follows_is_paced() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..BURST {
            assert_eq!(throttle.book(now), Duration::ZERO);
        }
        assert_eq!(throttle.book(now), PACE);
        assert_eq!(throttle.book(now), PACE * 2);
    }

    #[test]
    fn patience_gives_the_burst_back() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..BURST * 2 {
            throttle.book(now);
        }
        let later = now + PACE * BURST * 2;
        for _ in 0..BURST {
            assert_eq!(throttle.book(later), Duration::ZERO);
        }
        assert!(throttle.book(later) > Duration::ZERO);
    }
}
