//! Who has made how much: all accounts, and the files they are about.

mod account;
mod recovery;
mod shares;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
};

use rumi_policy::{ComponentId, Quota, Usage};

pub(super) use self::account::{Account, Begun};
use super::{
    Inode, QuotaError,
    journal::{Entries, Journal, Line},
};

/// The place of an account in the list, which never shrinks.
pub(super) type AccountId = usize;

/// A file or directory that somebody has a share of.
#[derive(Debug)]
struct Made {
    path: Box<str>,
    /// The largest that it has been since somebody began to grow it, while that goes on: whoever
    /// else has it open may have been promised that it can be so large again.
    size: u64,
    /// As it was last seen.
    now: u64,
    shares: Vec<(AccountId, Usage)>,
    /// Changes under way that grow it.
    open: u32,
    /// It has no name any more, and goes when nobody grows it.
    gone: bool,
    /// A change under way that replaces it, and what its account was given for that.
    replaced_by: Option<(u64, AccountId, Usage)>,
}

/// A change under way.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) id: u64,
    pub(super) account: AccountId,
    pub(super) quota: Quota,
    pub(super) path: Box<str>,
    /// What is reserved and not yet there.
    pub(super) held: Usage,
    /// What it grows, once that is there.
    pub(super) file: Option<Inode>,
    pub(super) replaces: Option<Inode>,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    accounts: Vec<Account>,
    names: HashMap<ComponentId, AccountId>,
    made: HashMap<Inode, Made>,
    next: u64,
}

impl Books {
    /// Takes in one account as it was read; what could not be read denies its component.
    pub(super) fn take_in(&mut self, component: ComponentId, read: Option<(Journal, Entries)>) {
        let id = self.accounts.len();
        let (journal, entries) = match read {
            Some((journal, entries)) => (Some(journal), entries),
            None => (None, Entries::default()),
        };
        self.names.insert(component.clone(), id);
        self.accounts.push(Account::new(component, journal));
        for line in entries.lines {
            self.replay(id, line);
        }
    }

    fn replay(&mut self, account: AccountId, line: Line<'static>) {
        match line {
            Line::Begin { id, path, before } => {
                self.next = self.next.max(id);
                if let Some(account) = self.accounts.get_mut(account) {
                    let path = path.into();
                    account.open.insert(id, Begun { path, before });
                }
            }
            Line::End { id } => {
                if let Some(account) = self.accounts.get_mut(account) {
                    account.open.remove(&id);
                }
            }
            Line::Has {
                inode,
                path,
                size,
                bytes,
                files,
            } => {
                let made = self.made.entry(inode).or_insert_with(|| Made::at(&path));
                made.path = path.into();
                made.size = made.size.max(size);
                made.now = made.size;
                self.set_share(inode, account, Usage { bytes, files });
                self.drop_if_unused(inode);
            }
            // Each account says of its own files where they went.
            Line::Moved { from, to } => {
                for made in self.made.values_mut() {
                    if made.shares.iter().any(|(owner, _)| *owner == account) {
                        made.follow(&from, &to);
                    }
                }
            }
        }
    }

    /// The account of a component, begun where it has none.
    pub(super) fn account(
        &mut self,
        component: &ComponentId,
        directory: &Path,
    ) -> Result<AccountId, QuotaError> {
        if let Some(id) = self.names.get(component) {
            return Ok(*id);
        }
        let path = directory.join(format!("{component}.jsonl"));
        let opened = Journal::open(&path).map_err(|error| {
            tracing::error!(path = %path.display(), %error, "an account of quotas cannot be made");
            QuotaError::Unreadable
        })?;
        let id = self.accounts.len();
        self.take_in(component.clone(), Some(opened));
        Ok(id)
    }

    pub(super) fn find(&self, component: &ComponentId) -> Option<&Account> {
        self.accounts.get(*self.names.get(component)?)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter()
    }

    /// What the account has of one file.
    pub(super) fn share(&self, component: &ComponentId, inode: Inode) -> Usage {
        let share = || {
            let account = self.names.get(component)?;
            let made = self.made.get(&inode)?;
            let (_, share) = made.shares.iter().find(|(id, _)| id == account)?;
            Some(*share)
        };
        share().unwrap_or_default()
    }

    /// Begins a change. `before` is what is at the path now, with its size; `replaces` says
    /// whether it will be replaced rather than grown.
    pub(super) fn begin(
        &mut self,
        account: AccountId,
        quota: Quota,
        path: &str,
        before: Option<(Inode, u64)>,
        replaces: bool,
    ) -> Result<Claim, QuotaError> {
        self.next += 1;
        let id = self.next;
        let mut claim = Claim {
            id,
            account,
            quota,
            path: path.into(),
            held: Usage::default(),
            file: None,
            replaces: None,
        };
        match before {
            Some((inode, _)) if replaces => {
                claim.replaces = Some(inode);
                self.give_credit(id, account, inode);
            }
            Some((inode, size)) => self.watch(inode, size, path, &mut claim),
            None => {}
        }
        let makes = Usage {
            bytes: 0,
            files: u64::from(claim.file.is_none()),
        };
        if let Err(error) = self.reserve(&mut claim, makes) {
            self.release(&claim);
            return Err(error);
        }
        let begun = Line::Begin {
            id,
            path: path.into(),
            before,
        };
        self.mend(account);
        let noted = match self.accounts.get_mut(account) {
            Some(account) if account.stale => Err(io::ErrorKind::InvalidData.into()),
            Some(account) => account.note(&[begun]).inspect(|()| {
                let path = path.into();
                account.open.insert(id, Begun { path, before });
            }),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = noted {
            tracing::error!(%error, "an account of quotas cannot be kept, so nothing is written");
            self.release(&claim);
            return Err(QuotaError::Unreadable);
        }
        Ok(claim)
    }

    /// One change at a time may count on the room that a replaced file leaves.
    fn give_credit(&mut self, id: u64, account: AccountId, inode: Inode) {
        let Some(made) = self.made.get_mut(&inode) else {
            return;
        };
        let Some((_, share)) = made.shares.iter().find(|(owner, _)| *owner == account) else {
            return;
        };
        // What somebody has open still takes its room when it has no name any more.
        if made.replaced_by.is_none() && made.open == 0 {
            made.replaced_by = Some((id, account, *share));
            if let Some(account) = self.accounts.get_mut(account) {
                account.credit = account.credit + *share;
            }
        }
    }

    fn watch(&mut self, inode: Inode, size: u64, path: &str, claim: &mut Claim) {
        let made = self.made.entry(inode).or_insert_with(|| Made {
            size,
            ..Made::at(path)
        });
        claim.file = Some(inode);
        made.open += 1;
        if made.open == 1 {
            // Others than the broker may have changed it since; that is nobody's growth.
            made.size = made.size.max(size);
            made.now = size;
            self.come_down(inode, claim.account);
        }
    }

    /// Has a file count for no more than what was last seen of it.
    fn come_down(&mut self, inode: Inode, first: AccountId) {
        let Some(made) = self.made.get_mut(&inode) else {
            return;
        };
        let lost = made.size.saturating_sub(made.now);
        made.size = made.now;
        self.shrink(inode, first, lost);
    }

    /// Keeps room for so much more.
    pub(super) fn reserve(&mut self, claim: &mut Claim, more: Usage) -> Result<(), QuotaError> {
        let account = self
            .accounts
            .get_mut(claim.account)
            .filter(|account| account.journal.is_some())
            .ok_or(QuotaError::Unreadable)?;
        let usage = account.usage();
        // Over a quota that was lowered, whatever adds nothing is still allowed.
        if more != Usage::default() && !claim.quota.admits(usage, more) {
            return Err(QuotaError::Full {
                quota: claim.quota,
                usage,
            });
        }
        account.reserved = account.reserved + more;
        claim.held = claim.held + more;
        Ok(())
    }

    /// Writes down how large the file of a change is now, and that it is there.
    pub(super) fn settle(&mut self, claim: &mut Claim, inode: Inode, size: u64) {
        let grown = if claim.file == Some(inode) {
            let before = self.made.get(&inode).map_or(size, |made| made.size);
            let bytes = size.saturating_sub(before);
            Usage { bytes, files: 0 }
        } else {
            // The number may have been another file's, which is gone then.
            self.forget(inode);
            let made = self.made.entry(inode);
            let made = made.or_insert_with(|| Made::at(&claim.path));
            made.path.clone_from(&claim.path);
            made.size = 0;
            made.gone = false;
            made.open += 1;
            claim.file = Some(inode);
            let bytes = size;
            Usage { bytes, files: 1 }
        };
        let mut alone = false;
        if let Some(made) = self.made.get_mut(&inode) {
            made.size = made.size.max(size);
            made.now = size;
            alone = made.open == 1;
        }
        if alone {
            self.come_down(inode, claim.account);
        }
        let used = claim.held - (claim.held - grown);
        claim.held = claim.held - used;
        if let Some(account) = self.accounts.get_mut(claim.account) {
            account.reserved = account.reserved - used;
        }
        let share = self.share_of(claim.account, inode) + grown;
        self.set_share(inode, claim.account, share);
        self.write_down(inode);
    }

    /// Ends a change: what it reserved and did not use is free again.
    pub(super) fn end(&mut self, claim: &Claim) {
        self.release(claim);
        let Some(account) = self.accounts.get_mut(claim.account) else {
            return;
        };
        account.open.remove(&claim.id);
        if account.note(&[Line::End { id: claim.id }]).is_err() {
            account.stale = true;
        }
        self.mend(claim.account);
    }

    fn release(&mut self, claim: &Claim) {
        if let Some(account) = self.accounts.get_mut(claim.account) {
            account.reserved = account.reserved - claim.held;
        }
        if let Some(inode) = claim.replaces {
            self.take_credit(inode, Some(claim.id));
        }
        if let Some(inode) = claim.file {
            if let Some(made) = self.made.get_mut(&inode) {
                made.open = made.open.saturating_sub(1);
                if made.open == 0 && made.gone {
                    self.forget(inode);
                } else if made.open == 0 {
                    self.come_down(inode, claim.account);
                }
            }
            self.drop_if_unused(inode);
        }
    }

    /// Takes back what a change was given for replacing this file.
    fn take_credit(&mut self, inode: Inode, only: Option<u64>) {
        let Some(made) = self.made.get_mut(&inode) else {
            return;
        };
        let mine = |(id, ..): &mut (u64, AccountId, Usage)| only.is_none_or(|only| *id == only);
        if let Some((_, account, credit)) = made.replaced_by.take_if(mine)
            && let Some(account) = self.accounts.get_mut(account)
        {
            account.credit = account.credit - credit;
        }
    }

    /// The last name of a file was taken away. It is there for as long as somebody has it open.
    pub(super) fn unnamed(&mut self, inode: Inode) {
        match self.made.get_mut(&inode) {
            Some(made) if made.open > 0 => made.gone = true,
            _ => self.forget(inode),
        }
    }

    /// A file is gone for good, and with it what anybody had of it.
    pub(super) fn forget(&mut self, inode: Inode) {
        self.take_credit(inode, None);
        let Some(made) = self.made.get_mut(&inode) else {
            return;
        };
        let owners: Vec<AccountId> = made.shares.iter().map(|(account, _)| *account).collect();
        for account in &owners {
            self.set_share(inode, *account, Usage::default());
            self.write_share(inode, *account, Usage::default());
        }
        self.drop_if_unused(inode);
    }

    /// A file, or all that lies in a directory, has another path now.
    pub(super) fn moved(&mut self, inode: Inode, from: &str, to: &str, is_directory: bool) {
        let mut owners = BTreeSet::new();
        if is_directory {
            for (known, made) in &mut self.made {
                if *known != inode && made.follow(from, to) {
                    owners.extend(made.shares.iter().map(|(account, _)| *account));
                }
            }
        }
        for account in &owners {
            if let Some(account) = self.accounts.get_mut(*account) {
                account.write_line(Line::Moved {
                    from: from.into(),
                    to: to.into(),
                });
            }
        }
        if let Some(made) = self.made.get_mut(&inode) {
            made.path = to.into();
            owners.extend(made.shares.iter().map(|(account, _)| *account));
            self.write_down(inode);
        }
        for account in owners {
            self.mend(account);
        }
    }
}

impl Made {
    fn at(path: &str) -> Self {
        Self {
            path: path.into(),
            size: 0,
            now: 0,
            shares: Vec::new(),
            open: 0,
            gone: false,
            replaced_by: None,
        }
    }

    /// Goes along where a directory goes; says whether it is in it.
    fn follow(&mut self, from: &str, to: &str) -> bool {
        let Some(rest) = below(&self.path, from) else {
            return false;
        };
        self.path = format!("{to}/{rest}").into();
        true
    }
}

/// What is left of a path below a directory.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}
