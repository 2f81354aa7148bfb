//! How often each permission was used, counted before a use is recorded, so that no kill of the broker gives one back.
//!
//! Only what a grant bounds (`max_uses`, `rate_per_minute`) is counted. What cannot be counted is refused.

mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rumi_policy::{ComponentId, Conditions, Denial, PermissionName, UnixMillis, Uses};

use self::table::Table;

/// Why a count was not begun anew.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// What else the file counts would be lost.
    #[error(
        "the uses of `{0}` cannot be read, so none of them can be kept; \
         remedy: packctl grant reset {0}, without a permission, counts all of them anew"
    )]
    Unreadable(ComponentId),
    /// The file cannot be written.
    #[error(
        "the uses of `{component}` cannot be written: {source}; remedy: make room in STATE/usage, and see that root may write there"
    )]
    Unwritable {
        /// Whose they are.
        component: ComponentId,
        /// What the kernel says.
        source: io::Error,
    },
}

/// The counts of one component, for an admin.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Whose they are.
    pub component: ComponentId,
    /// Each permission that was counted; nothing where they cannot be read.
    pub uses: Option<Vec<(PermissionName, Uses)>>,
}

/// A component's table, or nothing where it cannot be read.
type Account = Arc<Mutex<Option<Table>>>;

/// The counts of all components.
#[derive(Debug)]
pub struct Usages {
    directory: PathBuf,
    accounts: Mutex<HashMap<ComponentId, Account>>,
    /// Whether a use is counted only when it is on the disk.
    on_disk: bool,
}

impl Usages {
    /// Reads all counts. Those that cannot be read deny what they bound.
    #[must_use]
    pub fn open(directory: PathBuf, on_disk: bool) -> Self {
        let listed = fs::read_dir(&directory).inspect_err(|error| {
            tracing::error!(path = %directory.display(), %error, "the counts of uses cannot be listed");
        });
        let names = listed.into_iter().flatten().flatten();
        let components: Vec<ComponentId> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect();
        let usages = Self {
            directory,
            accounts: Mutex::default(),
            on_disk,
        };
        for component in components {
            usages.account(&component);
        }
        usages
    }

    /// Counts one use more, unless that would be one too many; gives the number of uses there are with it.
    ///
    /// # Errors
    /// When the conditions allow no further use, or it cannot be counted.
    pub async fn count(
        &self,
        component: &ComponentId,
        permission: &PermissionName,
        conditions: &Conditions,
        now: UnixMillis,
    ) -> Result<u64, Denial> {
        let (number, file) = self.add(component, permission, conditions, now)?;
        if self.on_disk {
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            if !matches!(synced, Ok(Ok(()))) {
                tracing::error!(%component, %permission, "a use could not be brought to the disk");
                return Err(conditions.uncountable(permission));
            }
        }
        Ok(number)
    }

    /// Whether one use more would be allowed now; nothing is counted.
    ///
    /// # Errors
    /// When it would not.
    pub fn check(
        &self,
        component: &ComponentId,
        permission: &PermissionName,
        conditions: &Conditions,
        now: UnixMillis,
    ) -> Result<(), Denial> {
        if !conditions.counts_uses() {
            return Ok(());
        }
        let account = self.account(component);
        let table = lock(&account);
        let table = table
            .as_ref()
            .ok_or_else(|| conditions.uncountable(permission))?;
        let uses = table.get(permission).cloned().unwrap_or_default();
        uses.once_more(conditions, component, permission, now)
            .map(drop)
    }

    fn add(
        &self,
        component: &ComponentId,
        permission: &PermissionName,
        conditions: &Conditions,
        now: UnixMillis,
    ) -> Result<(u64, Arc<File>), Denial> {
        let account = self.account(component);
        let mut table = lock(&account);
        let table = table
            .as_mut()
            .ok_or_else(|| conditions.uncountable(permission))?;
        let uses = table.get(permission).cloned().unwrap_or_default();
        let uses = uses.once_more(conditions, component, permission, now)?;
        let number = uses.total();
        table.set(permission, uses).map_err(|error| {
            tracing::error!(%component, %permission, %error, "a use cannot be counted, so it is refused");
            conditions.uncountable(permission)
        })?;
        Ok((number, table.file()))
    }

    /// All counts, sorted by component.
    #[must_use]
    pub fn list(&self) -> Vec<Counted> {
        let accounts: Vec<(ComponentId, Account)> = {
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let all = accounts.iter();
            all.map(|(name, account)| (name.clone(), Arc::clone(account)))
                .collect()
        };
        let counted = accounts.into_iter().map(|(component, account)| Counted {
            component,
            uses: lock(&account).as_ref().map(|table| table.rows().to_vec()),
        });
        let mut counted: Vec<Counted> = counted.collect();
        counted.sort_by(|a, b| a.component.cmp(&b.component));
        counted
    }

    /// Begins to count anew, one permission or all of a component. Gives what was counted before; nothing where that
    /// could not be read.
    ///
    /// # Errors
    /// When the file cannot be written, or one permission of what cannot be read is meant.
    pub fn reset(
        &self,
        component: &ComponentId,
        permission: Option<&PermissionName>,
    ) -> Result<Option<u64>, ResetError> {
        let unwritable = |source| ResetError::Unwritable {
            component: component.clone(),
            source,
        };
        let account = self.account(component);
        let mut account = lock(&account);
        match (account.as_mut(), permission) {
            (None, Some(_)) => Err(ResetError::Unreadable(component.clone())),
            (Some(table), Some(permission)) => {
                let Some(before) = table.get(permission).map(Uses::total) else {
                    return Ok(Some(0));
                };
                table.set(permission, Uses::default()).map_err(unwritable)?;
                table.file().sync_data().map_err(unwritable)?;
                Ok(Some(before))
            }
            (table, None) => {
                let before = table.map(|table| {
                    let rows = table.rows().iter();
                    rows.fold(0, |sum: u64, (_, uses)| sum.saturating_add(uses.total()))
                });
                let fresh = Table::make(&self.path(component), component).map_err(unwritable)?;
                *account = Some(fresh);
                Ok(before)
            }
        }
    }

    /// Whether anything of this component was counted, or cannot be read.
    #[must_use]
    pub fn counts(&self, component: &ComponentId) -> bool {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.contains_key(component)
    }

    fn path(&self, component: &ComponentId) -> PathBuf {
        self.directory.join(format!("{component}.json"))
    }

    /// The account of a component, begun where it has none. Once unreadable it stays so, until it is begun anew.
    fn account(&self, component: &ComponentId) -> Account {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(component) {
            return Arc::clone(account);
        }
        let path = self.path(component);
        let table = Table::open(&path, component).inspect_err(|error| {
            tracing::error!(path = %path.display(), %error, "the uses of `{component}` cannot be counted, so what its grant bounds is denied; remedy: packctl grant reset {component}");
        });
        let account: Account = Arc::new(Mutex::new(table.ok()));
        accounts.insert(component.clone(), Arc::clone(&account));
        account
    }
}

fn lock(account: &Account) -> MutexGuard<'_, Option<Table>> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
