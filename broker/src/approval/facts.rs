//! What is worth knowing of a pack before it is trusted.

use std::collections::{BTreeMap, BTreeSet};

use rumi_policy::{Permissions, manifest::Manifest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::container::{Blueprint, ContextError, Listed};

/// A pack, as far as it is shown and compared. All of it was written by somebody nobody vouches for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    pub(super) version: String,
    pub(super) base: String,
    pub(super) networked: bool,
    pub(super) requirements: Vec<String>,
    pub(super) dockerfile: Vec<String>,
    /// Entries by component.
    pub(super) components: BTreeMap<String, String>,
    /// By component and permission.
    pub(super) requests: BTreeMap<String, BTreeMap<String, Value>>,
    pub(super) files: BTreeMap<String, Entry>,
}

/// What lies at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Entry {
    /// A directory with nothing in it; others are in their files' paths.
    Directory,
    File {
        executable: bool,
        bytes: u64,
        sha256: String,
    },
    Link {
        target: String,
    },
}

impl Facts {
    /// Gathers them. Every file is hashed: not for a thread that others wait for.
    ///
    /// # Errors
    /// When the linked libraries lack a hash.
    pub fn of(manifest: &Manifest, blueprint: &Blueprint) -> Result<Self, ContextError> {
        let components = manifest.components.iter();
        let requests = manifest.requests.iter();
        Ok(Self {
            version: manifest.version.clone(),
            base: manifest.base.image().to_owned(),
            networked: blueprint.is_networked(),
            requirements: blueprint.requirements().map(str::to_owned).collect(),
            dockerfile: blueprint.instructions().map(str::to_owned).collect(),
            components: components
                .map(|one| (one.id.to_string(), one.entry.to_string()))
                .collect(),
            requests: requests
                .map(|(component, wishes)| (component.to_string(), wished(wishes)))
                .collect(),
            files: files(blueprint.context().list()?),
        })
    }

    /// Files, and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let files = self.files.values();
        files.fold((0, 0), |(number, sum), file| match file {
            Entry::File { bytes, .. } => (number + 1, sum + bytes),
            Entry::Link { .. } => (number + 1, sum),
            Entry::Directory => (number, sum),
        })
    }
}

/// The permissions as they stand in `requests`, where nothing has an `enabled`.
fn wished(permissions: &Permissions) -> BTreeMap<String, Value> {
    let Ok(Value::Object(all)) = serde_json::to_value(permissions) else {
        return BTreeMap::new();
    };
    let without = |mut value: Value| {
        if let Some(fields) = value.as_object_mut() {
            fields.remove("enabled");
        }
        value
    };
    all.into_iter()
        .map(|(name, value)| (name, without(value)))
        .collect()
}

fn files(listed: Vec<(String, Listed)>) -> BTreeMap<String, Entry> {
    let parents: BTreeSet<String> = listed
        .iter()
        .filter_map(|(path, _)| Some(path.rsplit_once('/')?.0.to_owned()))
        .collect();
    listed
        .into_iter()
        .filter_map(|(path, listed)| {
            let file = match listed {
                Listed::Directory if parents.contains(&path) => return None,
                Listed::Directory => Entry::Directory,
                Listed::Link { target } => Entry::Link { target },
                Listed::File {
                    executable,
                    bytes,
                    sha256,
                } => Entry::File {
                    executable,
                    bytes,
                    sha256,
                },
            };
            Some((path, file))
        })
        .collect()
}
