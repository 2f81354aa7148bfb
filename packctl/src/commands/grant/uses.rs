//! How often each permission was used, by the log.

use std::collections::HashMap;

use rumi_audit::query::Filter;

use super::history::{History, Verdict};
use crate::{commands::audit::Source, context::Context, failure::Failure};

/// Uses of one permission.
#[derive(Debug, Clone, Default)]
pub(super) struct Used {
    pub(super) count: u64,
    /// As the log spells it.
    pub(super) last: String,
}

/// Uses by component and permission, and since when the log tells.
#[derive(Debug, Default)]
pub(super) struct Uses {
    by: HashMap<(String, String), Used>,
    /// The time of the first decision that was looked at.
    pub(super) first: Option<String>,
}

impl Uses {
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn read(
        source: &Source,
        context: &Context,
        filter: Filter,
    ) -> Result<Self, Failure> {
        let mut uses = Self::default();
        History::open(source.directory(context)?, filter)?.each(|request| {
            let time = request.text("time");
            uses.first.get_or_insert_with(|| time.to_owned());
            // Denials name whatever a pack asks for, and without end.
            if request.verdict != Verdict::Allowed {
                return Ok(());
            }
            let key = (
                request.text("component").to_owned(),
                request.text("permission").to_owned(),
            );
            let used = uses.by.entry(key).or_default();
            used.count += 1;
            time.clone_into(&mut used.last);
            Ok(())
        })?;
        Ok(uses)
    }

    pub(super) fn of(&self, component: &str, permission: &str) -> Used {
        let key = (component.to_owned(), permission.to_owned());
        self.by.get(&key).cloned().unwrap_or_default()
    }
}
