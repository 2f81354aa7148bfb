//! Takes over `secrets.json`, the plain file that earlier versions read, and removes it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use rumi_policy::EnvKey;
use zeroize::Zeroizing;

use super::{
    key::{open_own, sync_parent},
    secret::Secret,
    store::{Store, StoreError},
};

/// Largest plain file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What is to be taken over.
#[derive(Debug)]
pub struct Imported {
    values: Vec<(EnvKey, Secret)>,
}

/// Reads the plain file; nothing where there is none. What is kept already with the same value is fine.
///
/// # Errors
/// In words for the admin, when the file cannot be taken over whole. No value is in them.
pub fn import(plain: &Path, store: &Store) -> Result<Option<Imported>, String> {
    let file = match open_own(plain) {
        Ok(file) => file,
        Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read `{}`: {error}", plain.display()))?;
    // serde's own message may quote a value, so only the place is told.
    let found: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|error| {
        format!(
            "`{}` is not a JSON object of strings: line {}, column {}",
            plain.display(),
            error.line(),
            error.column()
        )
    })?;
    let kept = store.entries().map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    for (name, value) in found {
        let value = Zeroizing::new(value.into_bytes());
        let name: EnvKey = name.parse().map_err(|error| format!("{error}"))?;
        let value = Secret::check(value).map_err(|error| format!("`{name}`: {error}"))?;
        match kept.get(&name) {
            Some(entry) if entry.value.text() == value.text() => {}
            Some(_) => {
                return Err(format!(
                    "`{name}` of `{}` is in the store already, with another value; take it out of the file or out of the store",
                    plain.display()
                ));
            }
            None => values.push((name, value)),
        }
    }
    Ok(Some(Imported { values }))
}

impl Imported {
    /// Names of what is new.
    pub fn names(&self) -> impl Iterator<Item = &EnvKey> {
        self.values.iter().map(|(name, _)| name)
    }

    /// Keeps the values, then removes the plain file.
    ///
    /// # Errors
    /// In words for the admin. The plain file stays then.
    pub fn finish(self, plain: &Path, store: &Store) -> Result<(), String> {
        if !self.values.is_empty() {
            store.set(self.values).map_err(|error| error.to_string())?;
        }
        let removed = fs::remove_file(plain).and_then(|()| sync_parent(plain));
        removed.map_err(|error| {
            format!(
                "cannot remove `{}`, whose secrets are in the store now: {error}",
                plain.display()
            )
        })
    }
}
