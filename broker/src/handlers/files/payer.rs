//! On whose account something is made.

use std::sync::Arc;

use rumi_policy::{ComponentId, Confirmed, FileWrite, Quota};

use super::create::Place;
use crate::{
    pipeline::Context,
    quota::{Growth, Inode, Names, QuotaError, Quotas},
};

/// The component that asked, and what all that it makes may come to.
#[derive(Debug, Clone)]
pub(super) struct Payer {
    quotas: Arc<Quotas>,
    component: ComponentId,
    quota: Quota,
}

impl Payer {
    pub(super) fn of(context: Context<'_>, permit: &Confirmed<FileWrite>) -> Self {
        Self {
            quotas: Arc::clone(context.broker.quotas()),
            component: context.caller.component().clone(),
            quota: permit.facts().quota,
        }
    }

    /// Begins to make what will have the place's name.
    pub(super) fn create(&self, place: &Place) -> Result<Growth, QuotaError> {
        let replaced = place.existing.as_ref().map(|existing| existing.counted());
        self.quotas
            .create(&self.component, self.quota, &place.path, replaced)
    }

    /// Begins to grow a file that is there.
    pub(super) fn grow(&self, place: &Place, file: (Inode, u64)) -> Result<Growth, QuotaError> {
        self.quotas
            .grow(&self.component, self.quota, &place.path, file)
    }

    /// Held while names change.
    pub(super) fn names(&self) -> Names<'_> {
        self.quotas.names()
    }
}
