//! What an admin has approved: a pack as it was, to the byte.

mod difference;
mod facts;
mod store;

use serde::{Deserialize, Serialize};

pub use self::{
    difference::{Change, Item, Subject},
    facts::Facts,
    store::{ApprovalError, Approvals, Started},
};

/// That a pack may be built and started as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What was approved: the digest of a blueprint.
    pub digest: String,
    /// Seconds since 1970.
    pub unix: u64,
    /// Who approved it.
    pub uid: u32,
    /// Approved in passing, by `--yes`: nobody was shown anything.
    pub unseen: bool,
    /// What it was, so that the next one can say what changed.
    pub facts: Facts,
}

/// What an admin is shown before an approval.
#[derive(Debug, Clone)]
pub struct Review {
    /// The digest of what lies there now.
    pub digest: String,
    /// The approval that was given last; nothing where there was none.
    pub before: Option<Approval>,
    /// Why that one cannot be read, in which case nothing is started.
    pub problem: Option<String>,
    /// What differs from then, or all of it.
    pub items: Vec<Item>,
    /// Files of the pack.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

impl Review {
    /// Compares what lies there with what was approved.
    #[must_use]
    pub fn new(digest: &str, now: &Facts, before: Option<Approval>) -> Self {
        let (files, bytes) = now.size();
        Self {
            digest: digest.to_owned(),
            items: difference::between(before.as_ref().map(|before| &before.facts), now),
            before,
            problem: None,
            files,
            bytes,
        }
    }

    /// Whether this is what was approved.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| before.digest == self.digest)
    }
}
