//! The books' side of counting again, and of ending what an earlier broker did not.

use rumi_policy::{ComponentId, Quota, Usage};

use super::{AccountId, Begun, Books, Claim, Made};
use crate::quota::Inode;

impl Books {
    /// The files of an account that nobody has open, with their paths.
    pub(in crate::quota) fn closed_files(&self, account: Option<&ComponentId>) -> Vec<Inode> {
        let account = account.map(|component| self.names.get(component).copied());
        let of = |made: &Made| match account {
            None => true,
            Some(None) => false,
            Some(Some(id)) => made.shares.iter().any(|(owner, _)| *owner == id),
        };
        let closed = self
            .made
            .iter()
            .filter(|(_, made)| made.open == 0 && of(made));
        closed.map(|(inode, _)| *inode).collect()
    }

    pub(in crate::quota) fn path_of(&self, inode: Inode) -> Option<Box<str>> {
        let made = self.made.get(&inode).filter(|made| made.open == 0)?;
        Some(made.path.clone())
    }

    /// The file has another number since the host was started anew.
    pub(in crate::quota) fn renumber(&mut self, from: Inode, to: Inode) {
        if self.made.contains_key(&to) {
            return;
        }
        if let Some(made) = self.made.remove(&from) {
            for (account, _) in &made.shares {
                self.write_share(from, *account, Usage::default());
            }
            self.made.insert(to, made);
            self.write_down(to);
        }
    }

    /// Changes that an earlier broker did not live to end.
    pub(in crate::quota) fn unfinished(&self) -> Vec<(AccountId, u64, Begun)> {
        let each = self.accounts.iter().enumerate();
        each.flat_map(|(account, a)| {
            let open = a.open.iter();
            open.map(move |(id, begun)| (account, *id, begun.clone()))
        })
        .collect()
    }

    /// Ends a change of an earlier broker by what is there now.
    pub(in crate::quota) fn recover(
        &mut self,
        account: AccountId,
        id: u64,
        begun: Begun,
        now: Option<(Inode, u64)>,
    ) {
        let mut claim = Claim {
            id,
            account,
            quota: Quota {
                bytes: u64::MAX,
                files: u64::MAX,
            },
            path: begun.path,
            held: Usage::default(),
            file: None,
            replaces: None,
        };
        match (begun.before, now) {
            (Some((inode, size)), Some((there, grown))) if inode == there => {
                let known = self.made.get(&inode).map_or(size, |made| made.size);
                let path = claim.path.clone();
                self.watch(inode, known, &path, &mut claim);
                self.settle(&mut claim, inode, grown.max(known));
            }
            // One that was settled is known already.
            (_, Some((there, _))) if self.made.contains_key(&there) => {}
            (_, Some((there, size))) => self.settle(&mut claim, there, size),
            (_, None) => {}
        }
        self.end(&claim);
    }
}
