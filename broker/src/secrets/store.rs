//! The store: all secrets in memory, and sealed on disk after each change.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_policy::EnvKey;

use super::{
    key::{KeyFile, open_own, sync_parent},
    sealed,
    secret::Secret,
};

/// Most secrets.
const MAX_SECRETS: usize = 1024;
/// Largest sealed file, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// One secret.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub value: Secret,
    /// The generation of the store that brought it: no two values ever had the same.
    pub version: u64,
    /// When, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// Everything that is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// Grows with each change.
    pub(super) generation: u64,
    pub(super) entries: BTreeMap<EnvKey, Entry>,
}

/// Why the store cannot be used, or a change was not made. No message holds anything of a value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The file system refused.
    #[error("cannot write `{path}`: {source}; nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// Others than root may read it.
    #[error(
        "`{path}` may be read by others than root; remedy: chown root `{path}` && chmod 600 `{path}`, then start the broker again"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The secrets are there and the key is not.
    #[error(
        "the key `{path}` of the secrets is not there; remedy: put it back and start the broker again, or move secrets.sealed away and set the secrets anew"
    )]
    KeyMissing {
        /// The key.
        path: PathBuf,
    },
    /// It is not a key.
    #[error(
        "`{path}` is not a key: 64 hexadecimal digits are expected; remedy: put the right one there and start the broker again"
    )]
    KeyUnfit {
        /// The key.
        path: PathBuf,
    },
    /// It was sealed with another key.
    #[error(
        "`{path}` was sealed with another key; remedy: put the right key back and start the broker again, or move the file away and set the secrets anew"
    )]
    OtherKey {
        /// The sealed file.
        path: PathBuf,
    },
    /// It was cut or edited.
    #[error(
        "`{path}` was cut or edited and is not used; remedy: restore it from a copy and start the broker again, or move it away and set the secrets anew"
    )]
    Damaged {
        /// The sealed file.
        path: PathBuf,
    },
    /// The file is not the one that was written last.
    #[error(
        "`{path}` was replaced or removed while the broker runs; remedy: put it back, or start the broker again to use what is there now"
    )]
    Replaced {
        /// The sealed file.
        path: PathBuf,
    },
    /// Too many.
    #[error("the store holds {MAX_SECRETS} secrets and no more; remedy: packctl secret rm NAME")]
    TooMany,
    /// Too much.
    #[error("the store would grow beyond {MAX_FILE} bytes; remedy: packctl secret rm NAME")]
    TooLarge,
    /// The library failed.
    #[error("the secrets could not be sealed; nothing was changed")]
    NotSealed,
}

/// All secrets of this broker.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    key: KeyFile,
    contents: RwLock<Result<Contents, Arc<StoreError>>>,
    /// Changes take turns; readers go on meanwhile.
    changing: Mutex<()>,
}

impl Store {
    /// Opens the store at `path`; one that cannot be used is refused at each use, so that it is never
    /// taken for an empty one.
    #[must_use]
    pub fn open(path: PathBuf, keys: &Path, credentials: Option<&Path>) -> Self {
        let key = KeyFile::locate(keys, credentials);
        let contents = read(&path, &key).map_err(Arc::new);
        Self {
            path,
            key,
            contents: RwLock::new(contents.map(Option::unwrap_or_default)),
            changing: Mutex::default(),
        }
    }

    /// The value of a secret, where there is one.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn get(&self, name: &EnvKey) -> Result<Option<Secret>, Arc<StoreError>> {
        self.with(|contents| contents.entries.get(name).map(|entry| entry.value.clone()))
    }

    /// All secrets by name.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn entries(&self) -> Result<BTreeMap<EnvKey, Entry>, Arc<StoreError>> {
        self.with(|contents| contents.entries.clone())
    }

    /// Whether the store can be used, and what is on disk is what was written last.
    ///
    /// # Errors
    /// When not.
    pub fn examine(&self) -> Result<usize, Arc<StoreError>> {
        let _turn = self.turn();
        let known = self.with(Clone::clone)?;
        self.unchanged(&known)?;
        Ok(known.entries.len())
    }

    /// Keeps these values, all or none of them; gives their version.
    ///
    /// # Errors
    /// When nothing was changed.
    pub fn set(
        &self,
        values: impl IntoIterator<Item = (EnvKey, Secret)>,
    ) -> Result<u64, Arc<StoreError>> {
        self.change(|contents| {
            let changed_ms = now();
            let version = contents.generation;
            for (name, value) in values {
                contents.entries.insert(
                    name,
                    Entry {
                        value,
                        version,
                        changed_ms,
                    },
                );
            }
        })
    }

    /// Forgets a value.
    ///
    /// # Errors
    /// When nothing was changed.
    pub fn remove(&self, name: &EnvKey) -> Result<(), Arc<StoreError>> {
        self.change(|contents| drop(contents.entries.remove(name)))
            .map(drop)
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) -> Result<u64, Arc<StoreError>> {
        let _turn = self.turn();
        let mut contents = self.with(Clone::clone)?;
        self.unchanged(&contents)?;
        contents.generation = contents.generation.saturating_add(1);
        change(&mut contents);
        if contents.entries.len() > MAX_SECRETS {
            return Err(Arc::new(StoreError::TooMany));
        }
        let key = match self.key.read()? {
            Some(key) => key,
            // What is there already was sealed with a key; another would make it unreadable.
            None if contents.generation > 1 => {
                return Err(Arc::new(StoreError::KeyMissing {
                    path: self.key.path().to_owned(),
                }));
            }
            None => self.key.make()?,
        };
        let bytes = sealed::seal(&key, &contents).ok_or(StoreError::NotSealed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Arc::new(StoreError::TooLarge));
        }
        replace(&self.path, &bytes).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            source,
        })?;
        let generation = contents.generation;
        *self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Ok(contents);
        Ok(generation)
    }

    /// What somebody else put there must not be overwritten unseen.
    fn unchanged(&self, known: &Contents) -> Result<(), Arc<StoreError>> {
        let on_disk = read(&self.path, &self.key)?;
        if on_disk.map_or(0, |contents| contents.generation) == known.generation {
            return Ok(());
        }
        Err(Arc::new(StoreError::Replaced {
            path: self.path.clone(),
        }))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, look: impl FnOnce(&Contents) -> T) -> Result<T, Arc<StoreError>> {
        let contents = self.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents.as_ref().map(look).map_err(Arc::clone)
    }
}

/// What is on disk; nothing where no secret was ever set.
fn read(path: &Path, key: &KeyFile) -> Result<Option<Contents>, StoreError> {
    let file = match open_own(path) {
        Ok(file) => file,
        Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(StoreError::TooLarge);
    }
    let found = key.read()?.ok_or_else(|| StoreError::KeyMissing {
        path: key.path().to_owned(),
    })?;
    sealed::open(path, &found, &bytes).map(Some)
}

/// A crash leaves the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // tempfile makes it for this user alone.
    let mut temporary = tempfile::Builder::new()
        .prefix(".secrets-")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_parent(path)
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
