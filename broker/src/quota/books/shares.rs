//! Who has how much of which file, in memory and on disk.

use rumi_policy::Usage;

use super::{AccountId, Books, Made};
use crate::quota::{
    Inode,
    journal::{Journal, Line},
};

impl Books {
    pub(super) fn share_of(&self, account: AccountId, inode: Inode) -> Usage {
        let shares = self.made.get(&inode).map(|made| &made.shares);
        shares
            .and_then(|shares| shares.iter().find(|(owner, _)| *owner == account))
            .map(|(_, share)| *share)
            .unwrap_or_default()
    }

    /// Takes bytes that are no longer there off the shares, beginning with one account's own.
    pub(super) fn shrink(&mut self, inode: Inode, first: AccountId, mut lost: u64) {
        let Some(made) = self.made.get(&inode).filter(|_| lost > 0) else {
            return;
        };
        let mut owners: Vec<(AccountId, Usage)> = made.shares.clone();
        owners.sort_by_key(|(account, _)| *account != first);
        for (account, mut share) in owners {
            let taken = share.bytes.min(lost);
            lost -= taken;
            share.bytes -= taken;
            if taken > 0 {
                self.set_share(inode, account, share);
                self.write_share(inode, account, share);
            }
        }
    }

    pub(super) fn set_share(&mut self, inode: Inode, account: AccountId, share: Usage) {
        let Some(made) = self.made.get_mut(&inode) else {
            return;
        };
        let at = made.shares.iter().position(|(owner, _)| *owner == account);
        let before = at.map(|at| made.shares.swap_remove(at).1);
        let nothing = share == Usage::default();
        if !nothing {
            made.shares.push((account, share));
        }
        if let Some(account) = self.accounts.get_mut(account) {
            account.files -= usize::from(before.is_some());
            account.files += usize::from(!nothing);
            account.used = account.used - before.unwrap_or_default() + share;
        }
    }

    pub(super) fn drop_if_unused(&mut self, inode: Inode) {
        let unused = |made: &Made| made.open == 0 && made.shares.is_empty();
        if self.made.get(&inode).is_some_and(unused) {
            self.made.remove(&inode);
        }
    }

    /// Writes all shares of a file into their accounts.
    pub(super) fn write_down(&mut self, inode: Inode) {
        let shares = self.made.get(&inode).map(|made| made.shares.clone());
        for (account, share) in shares.unwrap_or_default() {
            self.write_share(inode, account, share);
        }
    }

    pub(super) fn write_share(&mut self, inode: Inode, account: AccountId, share: Usage) {
        let made = self.made.get(&inode);
        let (path, size) = made.map_or(("", 0), |made| (&*made.path, made.size));
        if let Some(account) = self.accounts.get_mut(account) {
            account.write_line(Line::has(inode, path, size, share));
        }
    }

    /// Writes a journal anew that lacks lines or has far too many.
    pub(super) fn mend(&mut self, id: AccountId) {
        let Some(account) = self.accounts.get_mut(id) else {
            return;
        };
        let needed = account.files + account.open.len();
        let long = |journal: &Journal| journal.is_long(needed);
        if !account.stale && !account.journal.as_ref().is_some_and(long) {
            return;
        }
        let mut lines = Vec::with_capacity(needed);
        for (inode, made) in &self.made {
            if let Some((_, share)) = made.shares.iter().find(|(owner, _)| *owner == id) {
                lines.push(Line::has(*inode, &made.path, made.size, *share));
            }
        }
        for (id, begun) in &account.open {
            lines.push(Line::Begin {
                id: *id,
                path: (&*begun.path).into(),
                before: begun.before,
            });
        }
        if let Some(journal) = &mut account.journal {
            match journal.rewrite(&lines) {
                Ok(()) => account.stale = false,
                Err(error) => {
                    tracing::warn!(component = %account.component, %error, "an account of quotas cannot be written anew");
                }
            }
        }
    }
}
