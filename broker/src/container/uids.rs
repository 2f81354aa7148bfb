//! User ids of components and group ids of packs: given once, written down, never given again.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rumi_policy::{ComponentId, PackId};
use serde::{Deserialize, Serialize};

use super::labels::ComponentUser;

/// The first id that is given. Below it live the host's own users.
const FIRST: u32 = 200_000;
/// From here on ids have a meaning of their own to many tools.
const LAST: u32 = 2_000_000_000;

/// Ids could not be read or written down.
#[derive(Debug, thiserror::Error)]
pub enum UidError {
    /// The file cannot be read or written.
    #[error(
        "cannot {action} `{path}`: {source}; remedy: make room on its file system, and check that root owns it"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The file is not what the broker wrote.
    #[error(
        "`{path}` is damaged: {source}; remedy: restore it from a backup, or, with all packs down, move it away and give the work areas in docker/sandbox to their new groups"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// All ids were given.
    #[error(
        "all user ids up to {LAST} were given; remedy: with all packs down, move uids.json away"
    )]
    Exhausted,
    /// Another thread failed while it held the table.
    #[error(
        "the table of user ids is unusable after an earlier failure; remedy: restart the broker"
    )]
    Poisoned,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    next: u32,
    packs: BTreeMap<PackId, u32>,
    components: BTreeMap<ComponentId, u32>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            next: FIRST,
            packs: BTreeMap::new(),
            components: BTreeMap::new(),
        }
    }
}

/// The ids of one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackUids {
    /// Group of all its components: they share the work area.
    pub gid: u32,
    /// One user each, in the order they were asked for.
    pub components: Vec<ComponentUser>,
}

/// The table of all ids that were ever given.
#[derive(Debug)]
pub struct Uids {
    path: PathBuf,
    table: Mutex<Table>,
}

impl Uids {
    /// Reads the table in the state directory, or begins one.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn open(state: &Path) -> Result<Self, UidError> {
        let path = state.join("uids.json");
        let table = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| UidError::Damaged {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Table::default(),
            Err(source) => {
                return Err(UidError::File {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        Ok(Self {
            path,
            table: Mutex::new(table),
        })
    }

    /// The ids of a pack and its components; new ones are on the disk before this returns.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn assign(&self, pack: &PackId, components: &[ComponentId]) -> Result<PackUids, UidError> {
        let mut table = self.table.lock().map_err(|_| UidError::Poisoned)?;
        let mut changed = table.clone();
        let gid = give(&mut changed.next, &mut changed.packs, pack)?;
        let components = components
            .iter()
            .map(|component| {
                give(&mut changed.next, &mut changed.components, component).map(|uid| {
                    ComponentUser {
                        component: component.clone(),
                        uid,
                    }
                })
            })
            .collect::<Result<_, _>>()?;
        if changed.next != table.next {
            self.write(&changed)?;
            *table = changed;
        }
        Ok(PackUids { gid, components })
    }

    /// Keeps ids that running containers have, in case the table was lost.
    ///
    /// # Errors
    /// When the table cannot be written.
    pub fn adopt(&self, pack: &PackId, gid: u32, users: &[ComponentUser]) -> Result<(), UidError> {
        let mut table = self.table.lock().map_err(|_| UidError::Poisoned)?;
        let mut changed = table.clone();
        changed.packs.entry(pack.clone()).or_insert(gid);
        changed.next = changed.next.max(gid.saturating_add(1));
        for user in users {
            changed
                .components
                .entry(user.component.clone())
                .or_insert(user.uid);
            changed.next = changed.next.max(user.uid.saturating_add(1));
        }
        if changed.packs.len() != table.packs.len()
            || changed.components.len() != table.components.len()
            || changed.next != table.next
        {
            self.write(&changed)?;
            *table = changed;
        }
        Ok(())
    }

    fn write(&self, table: &Table) -> Result<(), UidError> {
        let failed = |action| {
            move |source| UidError::File {
                action,
                path: self.path.clone(),
                source,
            }
        };
        let mut bytes = serde_json::to_vec_pretty(table).map_err(|source| UidError::Damaged {
            path: self.path.clone(),
            source,
        })?;
        bytes.push(b'\n');
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let mut file =
            tempfile::NamedTempFile::new_in(directory).map_err(failed("make a copy beside"))?;
        file.write_all(&bytes).map_err(failed("write"))?;
        file.as_file().sync_all().map_err(failed("flush"))?;
        file.persist(&self.path)
            .map_err(|error| failed("replace")(error.error))?;
        fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("flush the directory of"))
    }
}

fn give<K: Ord + Clone>(
    next: &mut u32,
    table: &mut BTreeMap<K, u32>,
    key: &K,
) -> Result<u32, UidError> {
    if let Some(id) = table.get(key) {
        return Ok(*id);
    }
    let id = *next;
    if id >= LAST {
        return Err(UidError::Exhausted);
    }
    *next = id.saturating_add(1);
    table.insert(key.clone(), id);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn ids(pack: &str, names: &[&str]) -> (PackId, Vec<ComponentId>) {
        let components = names
            .iter()
            .map(|name| format!("{pack}:tool:{name}").parse().unwrap());
        (pack.parse().unwrap(), components.collect())
    }

    #[test]
    fn ids_survive_a_restart_and_are_never_shared() {
        let state = tempfile::tempdir().unwrap();
        let (one, ones) = ids("one", &["a", "b"]);
        let (two, twos) = ids("two", &["a"]);
        let uids = Uids::open(state.path()).unwrap();
        let first = uids.assign(&one, &ones).unwrap();
        let second = uids.assign(&two, &twos).unwrap();
        let all: BTreeSet<u32> = first
            .components
            .iter()
            .chain(&second.components)
            .map(|user| user.uid)
            .chain([first.gid, second.gid])
            .collect();
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|id| *id >= FIRST));
        let again = Uids::open(state.path()).unwrap();
        assert_eq!(again.assign(&one, &ones).unwrap(), first);
        // A component that goes away and a new one that comes do not meet in one id.
        let (_, later) = ids("one", &["c"]);
        let new = again.assign(&one, &later).unwrap();
        assert!(!all.contains(&new.components[0].uid));
    }

    #[test]
    fn a_lost_table_learns_from_running_containers() {
        let state = tempfile::tempdir().unwrap();
        let (one, ones) = ids("one", &["a"]);
        let uids = Uids::open(state.path()).unwrap();
        let user = ComponentUser {
            component: ones[0].clone(),
            uid: 200_777,
        };
        uids.adopt(&one, 200_776, std::slice::from_ref(&user))
            .unwrap();
        assert_eq!(uids.assign(&one, &ones).unwrap().components, [user]);
        let (two, twos) = ids("two", &["a"]);
        assert!(uids.assign(&two, &twos).unwrap().gid > 200_777);
    }

    #[test]
    fn a_damaged_table_is_not_begun_anew() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("uids.json"), "{\"next\":").unwrap();
        let error = Uids::open(state.path()).unwrap_err().to_string();
        assert!(
            error.contains("uids.json") && error.contains("remedy"),
            "{error}"
        );
    }
}
