//! Containers that wait for code, so that nobody waits for a container.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rumi_policy::ComponentId;
use tokio::sync::{Notify, Semaphore};

use super::{
    image::{CodeImage, Images},
    places::Places,
    slot::{Expected, Slot, SlotError},
};
use crate::{broker::Broker, vetting::Language};

/// Containers that are made at once. More would make each of them slower.
const MAKERS: usize = 3;
/// How often it is looked whether nobody needs them any more.
const ROUND: Duration = Duration::from_secs(20);

/// A container, and what its image has.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) slot: Slot,
    pub(super) image: CodeImage,
}

/// The containers that wait.
#[derive(Debug)]
pub(super) struct Ready {
    broker: Arc<Broker>,
    images: Arc<Images>,
    state: Mutex<State>,
    changed: Notify,
    makers: Semaphore,
    places: Arc<Places>,
    boot: u64,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Prepared>,
    making: usize,
    used: Option<Instant>,
    /// Of the last code: the next is most likely in the same.
    language: Option<Language>,
    watched: bool,
    closed: bool,
}

impl Ready {
    pub(super) fn new(broker: Arc<Broker>, images: Arc<Images>) -> Arc<Self> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Arc::new(Self {
            broker,
            images,
            state: Mutex::default(),
            changed: Notify::new(),
            makers: Semaphore::new(MAKERS),
            places: Arc::default(),
            // With the count, a name that no run had before, whenever the broker was started.
            boot: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            next: AtomicU64::new(1),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody used, from those that wait or made now.
    pub(super) async fn take(self: &Arc<Self>, language: Language) -> Result<Prepared, SlotError> {
        {
            let mut state = self.state();
            state.used = Some(Instant::now());
            state.language = Some(language);
        }
        let taken = self.waited_for().await;
        self.refill();
        taken
    }

    async fn waited_for(&self) -> Result<Prepared, SlotError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(prepared) = self.pop() {
                return Ok(prepared);
            }
            tokio::select! {
                // Never closed.
                permit = self.makers.acquire() => {
                    let _permit = permit;
                    return self.make().await;
                }
                () = changed => {}
            }
        }
    }

    fn pop(&self) -> Option<Prepared> {
        let mut state = self.state();
        while let Some(mut prepared) = state.waiting.pop_front() {
            if prepared.slot.alive() {
                return Some(prepared);
            }
        }
        None
    }

    async fn make(&self) -> Result<Prepared, SlotError> {
        let language = {
            let state = self.state();
            if state.closed {
                return Err(SlotError::Stopping);
            }
            state.language
        };
        let image = self.images.find().await?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let component = ComponentId::of_code(self.boot, number);
        let place = self.places.take();
        let expected = Expected {
            image: &image,
            language: language.unwrap_or(Language::Python),
        };
        let slot = Slot::make(&self.broker, expected, component, place).await;
        let slot = slot.inspect_err(|_| self.images.doubt())?;
        self.leave_older_than(&image);
        Ok(Prepared { slot, image })
    }

    /// Lets go of those that wait and were made from another image.
    fn leave_older_than(&self, image: &CodeImage) {
        let current = |prepared: &Prepared| prepared.image.id == image.id;
        let mut state = self.state();
        let (kept, old): (_, VecDeque<Prepared>) = state.waiting.drain(..).partition(current);
        state.waiting = kept;
        // Dropped, they are removed, and not while others wait for the state.
        drop(state);
        drop(old);
    }

    /// Has as many made as are missing. What fails is not tried again before somebody needs it.
    fn refill(self: &Arc<Self>) {
        let wanted = usize::from(self.broker.config().exec.ready.get());
        let mut state = self.state();
        if state.closed {
            return;
        }
        while state.waiting.len() + state.making < wanted {
            state.making += 1;
            let ready = Arc::clone(self);
            tokio::spawn(async move {
                let made = {
                    let _permit = ready.makers.acquire().await;
                    ready.make().await
                };
                ready.made(made);
            });
        }
        if !std::mem::replace(&mut state.watched, true) {
            tokio::spawn(Self::watch(Arc::clone(self)));
        }
    }

    fn made(&self, made: Result<Prepared, SlotError>) {
        let mut state = self.state();
        state.making = state.making.saturating_sub(1);
        match made {
            Ok(prepared) if !state.closed => state.waiting.push_back(prepared),
            // Removed by its drop; whoever closes waits for that.
            Ok(_) | Err(SlotError::Stopping) => {}
            Err(error) => tracing::error!(%error, "a container for ad-hoc code could not be made"),
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Lets them go when nobody has needed one for long.
    async fn watch(self: Arc<Self>) {
        let idle = self.broker.config().exec.idle_ms.duration();
        loop {
            tokio::time::sleep(ROUND.min(idle)).await;
            let mut state = self.state();
            let used = state.used.map(|at| at.elapsed());
            if state.closed || used.is_none_or(|since| since >= idle) {
                state.watched = false;
                let gone: Vec<Prepared> = state.waiting.drain(..).collect();
                drop(state);
                return drop(gone);
            }
        }
    }

    /// Removes those that wait, and makes no more. Resolves when none is left, those that were being made included.
    pub(super) async fn close(&self) {
        let gone: Vec<Prepared> = {
            let mut state = self.state();
            state.closed = true;
            state.waiting.drain(..).collect()
        };
        let gone = gone.into_iter().map(|prepared| prepared.slot.retire());
        futures_util::future::join_all(gone).await;
        self.places.empty().await;
    }
}
