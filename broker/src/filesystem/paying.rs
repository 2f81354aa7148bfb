//! On whose account files below `/files` are made and grown.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
};

use rumi_policy::{AbsPath, ComponentId, Confirmed, FileWrite, FileWriteFound, Permit, Quota};
use rustix::{fs::Stat, io::Errno};

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

/// The quota is full, in the kernel's words: a program knows what that means.
fn full(error: QuotaError) -> io::Error {
    tracing::debug!(%error, "a write below /files meets its quota");
    Errno::DQUOT.into()
}

impl Payer {
    pub(super) fn of(context: Context<'_>, permit: &Confirmed<FileWrite>) -> Self {
        Self {
            quotas: Arc::clone(context.broker.quotas()),
            component: context.caller.component().clone(),
            quota: permit.facts().quota,
        }
    }

    /// Begins to make what will lie at the path.
    pub(super) fn make(&self, path: &AbsPath) -> io::Result<Growth> {
        let made = self.quotas.create(&self.component, self.quota, path, None);
        made.map_err(full)
    }

    /// Begins to grow a file that is there.
    pub(super) fn grow(&self, path: &AbsPath, stat: &Stat) -> io::Result<Growing> {
        let size = size(stat);
        let file = (Inode::from(stat), size);
        let growth = self
            .quotas
            .grow(&self.component, self.quota, path, file)
            .map_err(full)?;
        Ok(Growing::new(growth, stat, size))
    }

    /// Held while names change.
    pub(super) fn names(&self) -> Names<'_> {
        self.quotas.names()
    }
}

/// A file that is open for writing: what it may grow by is reserved before it does.
#[derive(Debug)]
pub(super) struct Growing {
    growth: Mutex<Growth>,
    inode: Inode,
    before: u64,
}

impl Growing {
    fn new(growth: Growth, stat: &Stat, before: u64) -> Self {
        Self {
            growth: Mutex::new(growth),
            inode: Inode::from(stat),
            before,
        }
    }

    /// Goes on with what was just made under a name.
    pub(super) fn from_made(
        mut growth: Growth,
        names: &Names<'_>,
        (directory, name): (BorrowedFd<'_>, &str),
        stat: &Stat,
    ) -> Self {
        growth.made(names, directory, name, stat);
        Self::new(growth, stat, size(stat))
    }

    /// Makes sure that the file may come to be so large.
    pub(super) fn cover(&self, size: u64) -> io::Result<()> {
        let more = size.saturating_sub(self.before);
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        growth.cover(more).map_err(full)
    }

    /// Writes down how large it has become.
    pub(super) fn settle(&self, stat: &Stat) {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        growth.settle(self.inode, size(stat));
        if stat.st_nlink == 0 {
            growth.unnamed(self.inode);
        }
    }
}

/// What the policy wants to know of the account. Where it leaves no room it is counted again first:
/// files may have been removed by others.
pub(super) async fn count(
    context: Context<'_>,
    permit: &Permit<FileWrite>,
    found: &mut FileWriteFound,
) {
    let (quotas, component) = (context.broker.quotas(), context.caller.component());
    found.usage = quotas.usage(component, None);
    let full = |usage| permit.terms().is_full(usage, found, permit.ask());
    if found.usage.is_some_and(full) {
        let (counting, whose) = (Arc::clone(quotas), component.clone());
        let counted = tokio::task::spawn_blocking(move || counting.recount_if_due(&whose)).await;
        if matches!(counted, Ok(true)) {
            found.usage = quotas.usage(component, None);
        }
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
