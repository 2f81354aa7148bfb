//! What a pack may have of the broker at once, and each component's part of it.
//!
//! Of everything that is bounded, half is kept for the components, the same for each and at least one; the other
//! half is for whoever comes first. So one component can take more than its part and never all of it, and a pack
//! gains nothing by having many components.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Config, MESSAGE};

/// A place that was taken; it is free again when this is dropped.
pub type Place = OwnedSemaphorePermit;

/// Bytes are counted by this many.
const UNIT: u64 = 1024;

/// Of one thing that is bounded: what a component keeps, and what it shares with its sisters.
#[derive(Debug, Clone)]
pub struct Share {
    own: Part,
    rest: Part,
}

/// Places, and how many there are when none is taken.
#[derive(Debug, Clone)]
struct Part {
    places: Arc<Semaphore>,
    all: u32,
}

impl Part {
    fn new(all: u32) -> Self {
        let places = usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            all,
        }
    }

    fn take(&self, number: u32) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_many_owned(number).ok()
    }

    /// What is larger than the part never comes free in it; whoever waited for it here would keep out those
    /// that could be served.
    async fn wait(&self, number: u32) -> Option<Place> {
        if number > self.all {
            return std::future::pending().await;
        }
        let places = Arc::clone(&self.places);
        places.acquire_many_owned(number).await.ok()
    }
}

impl Share {
    /// All places of somebody without sisters.
    #[cfg(test)]
    pub(crate) fn of(all: u32) -> Self {
        Whole::new(all, 1, 0).part()
    }

    /// A place, if there is one now.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        self.take_many(1)
    }

    fn take_many(&self, number: u32) -> Option<Place> {
        self.own.take(number).or_else(|| self.rest.take(number))
    }

    /// Waits for a place. Nobody closes the semaphores, and so there is one for everybody in the end.
    pub async fn wait(&self) -> Option<Place> {
        self.wait_many(1).await
    }

    async fn wait_many(&self, number: u32) -> Option<Place> {
        let number = number.min(self.own.all.max(self.rest.all));
        if let Some(place) = self.take_many(number) {
            return Some(place);
        }
        tokio::select! {
            place = self.own.wait(number) => place,
            place = self.rest.wait(number) => place,
        }
    }

    /// Waits for room for so many bytes. A message that is larger than all there is takes all of it.
    async fn room_for(&self, bytes: u64) -> Option<Place> {
        self.wait_many(units(bytes)).await
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// One thing that is bounded for a pack, before it is divided.
#[derive(Debug)]
struct Whole {
    rest: Part,
    own: u32,
}

impl Whole {
    /// Divides `all` among `components`, each of which keeps at least `least`.
    fn new(all: u32, components: usize, least: u32) -> Self {
        let components = u32::try_from(components).unwrap_or(u32::MAX).max(1);
        let own = match components {
            1 => all,
            several => all / 2 / several,
        };
        let own = own.max(least);
        let rest = all.saturating_sub(own.saturating_mul(components));
        Self {
            rest: Part::new(rest),
            own,
        }
    }

    fn part(&self) -> Share {
        Share {
            own: Part::new(self.own),
            rest: self.rest.clone(),
        }
    }
}

/// All that is bounded for one pack.
#[derive(Debug)]
pub struct PackShares {
    connections: Whole,
    channels: Whole,
    requests: Whole,
    received: Whole,
    sent: Whole,
    effects: Whole,
    commands: Whole,
    terminals: Whole,
    tunnels: Whole,
}

impl PackShares {
    /// For a pack of so many components.
    #[must_use]
    pub fn new(config: &Config, components: usize) -> Self {
        let all = &config.requests;
        let places = |number: u16| Whole::new(number.into(), components, 1);
        let bytes = || {
            let half = units(all.bytes_in_flight.bytes() / 2);
            Whole::new(half, components, units(MESSAGE))
        };
        Self {
            connections: places(all.connections.get()),
            channels: places(all.channels.get()),
            requests: places(all.in_flight.get()),
            received: bytes(),
            sent: bytes(),
            effects: places(all.effects.get()),
            commands: places(all.commands.get()),
            terminals: places(all.terminals.get()),
            tunnels: places(config.network.tunnels.get()),
        }
    }

    /// What one of its components may have.
    #[must_use]
    pub fn component(&self) -> Shares {
        Shares {
            connections: self.connections.part(),
            channels: self.channels.part(),
            requests: self.requests.part(),
            received: self.received.part(),
            sent: self.sent.part(),
            effects: self.effects.part(),
            commands: self.commands.part(),
            terminals: self.terminals.part(),
            tunnels: self.tunnels.part(),
        }
    }
}

/// What one component may have at once.
#[derive(Debug)]
pub struct Shares {
    /// Connections to its socket.
    pub connections: Share,
    /// Those of them that speak HTTP/2.
    pub channels: Share,
    /// Requests that are read, answered or sent.
    pub requests: Share,
    received: Share,
    sent: Share,
    /// Writes, fetches and calls of handlers under way.
    pub effects: Share,
    /// Commands under way.
    pub commands: Share,
    /// Terminals that are open.
    pub terminals: Share,
    /// What stays open to the network.
    pub tunnels: Share,
}

impl Shares {
    /// Waits for room for a message that comes.
    pub async fn room_to_receive(&self, bytes: u64) -> Option<Place> {
        self.received.room_for(bytes).await
    }
    /// Waits for room for a message that goes. Whoever waits here may hold a message that came, and never
    /// the other way round: each is bounded by itself, so that nobody waits for himself.
    pub async fn room_to_send(&self, bytes: u64) -> Option<Place> {
        self.sent.room_for(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::{MESSAGE, PackShares, Share, Whole, units};
    use crate::config::Config;

    fn all_of(share: &Share) -> Vec<super::Place> {
        std::iter::from_fn(|| share.take()).collect()
    }

    #[test]
    fn a_pack_has_no_more_for_having_more_components() {
        for components in 1..=20 {
            let whole = Whole::new(64, components, 1);
            let parts: Vec<Share> = (0..components).map(|_| whole.part()).collect();
            let taken: Vec<_> = parts.iter().map(all_of).collect();
            assert_eq!(
                taken.iter().map(Vec::len).sum::<usize>(),
                64,
                "{components}"
            );
        }
    }

    #[test]
    fn whoever_takes_all_he_can_leaves_each_sister_her_part() {
        let whole = Whole::new(64, 4, 1);
        let [greedy, sisters @ ..] = [(); 4].map(|()| whole.part());
        let taken = all_of(&greedy);
        assert_eq!(taken.len(), 8 + 32);
        for sister in &sisters {
            assert_eq!(all_of(sister).len(), 8);
        }
        drop(taken);
        assert_eq!(
            all_of(&sisters[0]).len(),
            8 + 32,
            "what is given back is anybody's"
        );
    }

    #[test]
    fn the_smallest_bound_still_leaves_one_for_each() {
        let whole = Whole::new(4, 20, 1);
        let parts: Vec<Share> = (0..20).map(|_| whole.part()).collect();
        for part in &parts {
            assert_eq!(all_of(part).len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_as_soon_as_either_part_has_a_place() {
        let whole = Whole::new(4, 2, 1);
        let [one, other] = [whole.part(), whole.part()];
        for first_is_own in [true, false] {
            // Own places are taken first, and so they stand first.
            let mut taken = all_of(&one);
            assert_eq!(taken.len(), 3);
            let waiting = timeout(Duration::from_secs(1), one.wait());
            assert!(waiting.await.is_err(), "all are taken");
            let place = taken.remove(if first_is_own { 0 } else { 2 });
            let (waited, ()) = tokio::join!(timeout(Duration::from_secs(1), one.wait()), async {
                tokio::task::yield_now().await;
                drop(place);
            });
            assert!(waited.is_ok_and(|place| place.is_some()));
        }
        assert_eq!(
            all_of(&other).len(),
            3,
            "no place got lost by waiting twice"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_component_has_room_for_a_message_whatever_its_sisters_hold() {
        let pack = PackShares::new(&Config::default(), 64);
        let [greedy, sister] = [pack.component(), pack.component()];
        let mut held = Vec::new();
        while let Ok(place) = timeout(Duration::from_secs(1), greedy.room_to_receive(MESSAGE)).await
        {
            held.push(place);
        }
        assert!(!held.is_empty());
        let room = timeout(Duration::from_secs(1), sister.room_to_receive(MESSAGE)).await;
        assert!(room.is_ok());
        let sent = timeout(Duration::from_secs(1), greedy.room_to_send(MESSAGE)).await;
        assert!(sent.is_ok(), "what goes is bounded by itself");
        // More than there is takes all there is, and does not wait for ever.
        let all = timeout(Duration::from_secs(1), sister.room_to_send(u64::MAX)).await;
        assert!(all.is_ok());
    }

    #[test]
    fn bytes_are_counted_upwards() {
        assert_eq!([0, 1, 1024, 1025].map(units), [0, 1, 1, 2]);
        assert_eq!(units(u64::MAX), u32::MAX);
    }
}
