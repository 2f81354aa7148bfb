//! Lines of workers whose own stderr leads nowhere, written to the container's log.

use std::time::{Duration, Instant};

use crate::say;

/// Lines at once, and how long each takes until it may be written again: the engine keeps the
/// newest of all components, and one must not push out what the others said.
const BURST: u32 = 500;
const PACE: Duration = Duration::from_millis(20);

/// The lines of one component. Whose they are is the kernel's word, so no line can claim another's.
#[derive(Debug)]
pub(super) struct Log {
    uid: u32,
    /// When the lines so far would have been written at the steady pace.
    booked: Instant,
    dropped: u64,
}

impl Log {
    pub(super) fn new(uid: u32) -> Self {
        Self {
            uid,
            booked: Instant::now(),
            dropped: 0,
        }
    }

    pub(super) fn write(&mut self, line: &[u8]) {
        if !self.has_room(Instant::now()) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let text = format!("{dropped} lines were too many and were dropped");
            say::line_of(self.uid, &text);
        }
        say::line_of(self.uid, &String::from_utf8_lossy(line));
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let booked = self.booked.max(now);
        if booked.duration_since(now) >= PACE * BURST {
            return false;
        }
        self.booked = booked + PACE;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_patience_gives_room_again() {
        let mut log = Log::new(200_001);
        let now = Instant::now();
        let written = (0..10 * BURST).filter(|_| log.has_room(now)).count();
        assert_eq!(written, BURST as usize);
        let later = now + PACE * 10;
        assert_eq!((0..100).filter(|_| log.has_room(later)).count(), 10);
    }
}
