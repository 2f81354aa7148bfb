//! Who waits, how many of each component, and what became of those that waited lately.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use rumi_policy::ComponentId;
use tokio::{sync::oneshot, time::Instant};

use super::{Answer, Shown, TurnedAway};
use crate::config::ApprovalSettings;

/// Ends that are remembered, so that a late answer is told what it is late for.
const REMEMBERED: usize = 512;
/// The span in which a component's questions are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// What became of a request that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// An admin has answered.
    Answered(Answer),
    /// Nobody did in time.
    TimedOut,
    /// Whoever asked went away.
    Withdrawn,
    /// The policy no longer allows it.
    Revoked,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shown: Shown,
    pub(super) until: Instant,
    /// Where the answer goes; nothing while somebody gives one.
    pub(super) answer: Option<oneshot::Sender<Answer>>,
}

/// What one component has had asked.
#[derive(Debug, Default)]
struct Asked {
    waiting: u16,
    lately: VecDeque<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    waiting: BTreeMap<String, Entry>,
    components: HashMap<ComponentId, Asked>,
    ended: VecDeque<(String, Ended, SystemTime)>,
}

impl Table {
    pub(super) fn enter(
        &mut self,
        entry: Entry,
        settings: &ApprovalSettings,
    ) -> Result<(), TurnedAway> {
        let component = &entry.shown.question.component;
        let asked = self.components.entry(component.clone()).or_default();
        let now = Instant::now();
        while let Some(first) = asked.lately.front()
            && now.duration_since(*first) >= MINUTE
        {
            asked.lately.pop_front();
        }
        if asked.waiting >= settings.waiting.get() {
            return Err(TurnedAway::Crowded);
        }
        if asked.lately.len() >= usize::from(settings.per_minute.get()) {
            return Err(TurnedAway::TooOften);
        }
        asked.waiting += 1;
        asked.lately.push_back(now);
        self.waiting.insert(entry.shown.id.clone(), entry);
        Ok(())
    }

    /// Gives the component its place back.
    pub(super) fn leave(&mut self, component: &ComponentId) {
        if let Some(asked) = self.components.get_mut(component) {
            asked.waiting = asked.waiting.saturating_sub(1);
        }
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = self
            .waiting
            .values()
            .map(|entry| entry.shown.clone())
            .collect();
        all.sort_by_key(|shown| shown.since);
        all
    }

    pub(super) fn entry(&mut self, id: &str) -> Option<&mut Entry> {
        self.waiting.get_mut(id)
    }

    /// Ends one that nobody is answering just now; says whether it did.
    pub(super) fn end(&mut self, id: &str, how: Ended) -> bool {
        let free = self.waiting.get(id).is_some_and(|it| it.answer.is_some());
        free && self.forget(id, how)
    }

    /// Ends one, whoever is answering it; says whether it was there.
    pub(super) fn forget(&mut self, id: &str, how: Ended) -> bool {
        let Some((id, _)) = self.waiting.remove_entry(id) else {
            return false;
        };
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, how, SystemTime::now()));
        true
    }

    pub(super) fn became_of(&self, id: &str) -> Option<(Ended, SystemTime)> {
        let known = self.ended.iter().find(|(known, _, _)| known == id);
        known.map(|(_, how, at)| (*how, *at))
    }
}
