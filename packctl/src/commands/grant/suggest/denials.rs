//! The denials of the log, the same requests taken together.

use std::collections::BTreeMap;

use rumi_audit::query::Filter;
use serde::Serialize;

use super::super::history::{History, Request, Verdict};
use crate::{asking::Question, failure::Failure};

/// Different requests that are told apart. A pack chooses what it asks for, and without end.
const MOST: usize = 10_000;

/// One request that was denied, once or often.
#[derive(Debug)]
pub(in crate::commands::grant) struct Denied {
    pub(in crate::commands::grant) key: Key,
    pub(in crate::commands::grant) reason: String,
    pub(in crate::commands::grant) verdict: Verdict,
    pub(in crate::commands::grant) seen: Seen,
    pub(in crate::commands::grant) question: Option<Question>,
}

/// How often, and when last.
#[derive(Debug, Clone, Serialize)]
pub(in crate::commands::grant) struct Seen {
    pub(in crate::commands::grant) count: u64,
    pub(in crate::commands::grant) last_record: String,
    pub(in crate::commands::grant) last_time: String,
}

impl Seen {
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        // Times of the log sort as text.
        if other.last_time > self.last_time {
            self.last_record.clone_from(&other.last_record);
            self.last_time.clone_from(&other.last_time);
        }
    }
}

/// What makes two requests the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::commands::grant) struct Key {
    pub(in crate::commands::grant) component: String,
    pub(in crate::commands::grant) permission: String,
    /// What a later one may already be admitted by goes first.
    #[serde(skip)]
    rank: u8,
    pub(in crate::commands::grant) action: String,
    pub(in crate::commands::grant) target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands::grant) particular: Option<String>,
}

impl Key {
    fn of(request: &Request) -> Self {
        let action = request.text("action").to_owned();
        // A listing needs the directory, and then its files need nothing; a name needs a port, and
        // a request names one.
        let rank = match action.as_str() {
            "list" => 0,
            "resolve" => 2,
            _ => 1,
        };
        Self {
            component: request.text("component").to_owned(),
            permission: request.text("permission").to_owned(),
            rank,
            action,
            target: request.target(),
            particular: request.particular().map(str::to_owned),
        }
    }
}

/// All denials that were told apart, and how many were not.
#[derive(Debug, Default)]
pub(in crate::commands::grant) struct Denials {
    pub(in crate::commands::grant) distinct: Vec<Denied>,
    pub(in crate::commands::grant) beyond: u64,
}

impl Denials {
    /// # Errors
    /// When the log cannot be read.
    pub(in crate::commands::grant) fn read(
        directory: std::path::PathBuf,
        filter: Filter,
        wanted: impl Fn(&Request) -> bool,
    ) -> Result<Self, Failure> {
        let mut found: BTreeMap<Key, Denied> = BTreeMap::new();
        let mut beyond = 0;
        History::open(directory, filter)?.each(|request| {
            if request.verdict == Verdict::Allowed || !wanted(&request) {
                return Ok(());
            }
            let key = Key::of(&request);
            let seen = Seen {
                count: 1,
                last_record: request.text("id").to_owned(),
                last_time: request.text("time").to_owned(),
            };
            if let Some(known) = found.get_mut(&key) {
                known.seen.merge(&seen);
                // What was said last is what holds.
                known.reason = request.text("reason").to_owned();
                known.verdict = request.verdict;
            } else if found.len() == MOST {
                beyond += 1;
            } else {
                let denied = Denied {
                    reason: request.text("reason").to_owned(),
                    verdict: request.verdict,
                    question: request.question(),
                    seen,
                    key: key.clone(),
                };
                found.insert(key, denied);
            }
            Ok(())
        })?;
        Ok(Self {
            distinct: found.into_values().collect(),
            beyond,
        })
    }
}
