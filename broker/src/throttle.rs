//! Slows down a component that is refused again and again, so that it cannot fill the disk with
//! the records of its refusals. Nothing is dropped: it waits, and each decision is recorded.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// Refusals that cost no time.
const BURST: u32 = 2_000;
/// Time that each refusal beyond the burst takes; as much is regained while nothing is refused.
const PACE: Duration = Duration::from_millis(5);
/// Refusals that wait for their time at once. Further ones wait for a place, in their order, so that nobody
/// waits for much longer than this many turns: a process that waits in the kernel cannot be killed meanwhile.
const WAITING: usize = 128;

/// The pace of one component (a generic cell rate algorithm).
#[derive(Debug)]
pub struct Throttle {
    /// When the refusals so far would have happened at the steady pace.
    booked: Mutex<Option<Instant>>,
    places: Semaphore,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            booked: Mutex::default(),
            places: Semaphore::new(WAITING),
        }
    }
}

/// A turn that was booked. Who goes away before it has come gives it back: otherwise requests that are
/// withdrawn at once would book hours ahead.
struct Booked<'a> {
    throttle: &'a Throttle,
    used: bool,
}

impl Drop for Booked<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.throttle.give_back();
        }
    }
}

impl Throttle {
    /// Takes a turn; resolves when it has come.
    pub async fn turn(&self) {
        // Nobody closes the semaphore, and so there is a place for everybody in the end.
        let _place = self.places.acquire().await.ok();
        let wait = self.book(Instant::now());
        let mut booked = Booked {
            throttle: self,
            used: false,
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        booked.used = true;
    }

    fn give_back(&self) {
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        *booked = booked.and_then(|booked| booked.checked_sub(PACE));
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

    #[tokio::test]
    async fn a_turn_that_is_withdrawn_is_given_back() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..BURST * 2 {
            throttle.book(now);
        }
        for _ in 0..50 {
            let withdrawn = tokio::time::timeout(Duration::ZERO, throttle.turn()).await;
            assert!(withdrawn.is_err());
        }
        assert_eq!(throttle.book(now), PACE * (BURST + 1));
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
