//! One component's account.

use std::{collections::BTreeMap, io};

use rumi_policy::{ComponentId, Usage};

use crate::quota::{
    Inode,
    journal::{Journal, Line},
};

/// A change that has begun: where, and what was there with its size.
#[derive(Debug, Clone)]
pub(in crate::quota) struct Begun {
    pub(in crate::quota) path: Box<str>,
    pub(in crate::quota) before: Option<(Inode, u64)>,
}

#[derive(Debug)]
pub(in crate::quota) struct Account {
    pub(in crate::quota) component: ComponentId,
    /// What it has made and what is still there.
    pub(super) used: Usage,
    /// What its changes under way may still add.
    pub(super) reserved: Usage,
    /// What its changes under way will take away.
    pub(super) credit: Usage,
    /// Changes under way, by their numbers, for when the journal is written anew.
    pub(super) open: BTreeMap<u64, Begun>,
    pub(super) files: usize,
    /// Nothing where the account could not be read.
    pub(super) journal: Option<Journal>,
    /// The journal lacks lines, and has to be written anew before it is relied on.
    pub(super) stale: bool,
}

impl Account {
    pub(super) fn new(component: ComponentId, journal: Option<Journal>) -> Self {
        Self {
            component,
            used: Usage::default(),
            reserved: Usage::default(),
            credit: Usage::default(),
            open: BTreeMap::new(),
            files: 0,
            journal,
            stale: false,
        }
    }

    /// All that is there, or may be in a moment.
    pub(super) fn usage(&self) -> Usage {
        self.used + self.reserved - self.credit
    }

    pub(in crate::quota) fn seen(&self) -> Option<Usage> {
        self.journal.as_ref().map(|_| self.usage())
    }

    /// One more line of what is so already; without it the journal has to be written anew.
    pub(super) fn write_line(&mut self, line: Line<'_>) {
        if let Err(error) = self.note(&[line]) {
            tracing::warn!(component = %self.component, %error, "an account of quotas lacks a line");
            self.stale = true;
        }
    }

    pub(super) fn note(&mut self, lines: &[Line<'_>]) -> io::Result<()> {
        match &mut self.journal {
            Some(journal) => journal.append(lines),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
