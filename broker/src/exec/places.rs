//! Users of ad-hoc code are few and come back: each belongs to one container at a time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Which are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: BTreeSet<u32>,
    /// Of containers that could not be removed.
    lost: usize,
}

/// A place, for as long as a container has it.
#[derive(Debug)]
pub(super) struct Place {
    number: u32,
    all: Arc<Places>,
    lost: bool,
}

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(self: &Arc<Self>) -> Place {
        let mut state = self.state();
        let number = (0..u32::MAX)
            .find(|number| !state.taken.contains(number))
            .unwrap_or_default();
        state.taken.insert(number);
        drop(state);
        Place {
            number,
            all: Arc::clone(self),
            lost: false,
        }
    }

    /// Resolves when no container is left but those that could not be removed.
    pub(super) async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.state();
                if state.taken.len() <= state.lost {
                    return;
                }
            }
            changed.await;
        }
    }
}

impl Place {
    /// Which user it stands for.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Its container may still have processes: nobody else may have its user.
    pub(super) fn lose(mut self) {
        self.lost = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.all.state();
        if self.lost {
            state.lost += 1;
        } else {
            state.taken.remove(&self.number);
        }
        drop(state);
        self.all.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_comes_back_unless_it_is_lost_and_an_end_waits_for_those_that_come_back() {
        let places = Arc::<Places>::default();
        let (first, second) = (places.take(), places.take());
        assert_eq!((first.number(), second.number()), (0, 1));
        first.lose();
        assert_eq!(places.take().number(), 2);
        let all = Arc::clone(&places);
        let waiting = tokio::spawn(async move { all.empty().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        assert_eq!(places.take().number(), 1);
    }
}
