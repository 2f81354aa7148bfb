//! Reads a pack from its directory and checks what a manifest alone cannot know.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rumi_policy::{
    ComponentId, Kind, PackId,
    manifest::{ComponentManifest, Manifest, ManifestError, Requirements},
};
use serde_json::{Value, value::RawValue};

use super::schema::{ArgumentsError, Schema};
use crate::{config::Config, workers::ToolSpec};

/// Where a pack's code lies inside its container.
const CODE: &str = "/opt/pack";
/// The interpreter of packs without requirements of their own.
const SYSTEM_PYTHON: &str = "/usr/bin/python3.11";
/// The interpreter of packs with requirements.
const VENV_PYTHON: &str = "/opt/venv/bin/python";
/// Largest pack.json, in bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// A component's socket must fit the 107 bytes of a socket's path inside the container.
const LONGEST_COMPONENT: usize = 90;
/// Processes and threads of one call, unless the pack may have fewer.
const CALL_PIDS: u32 = 64;

/// A pack that can be built and started.
#[derive(Debug)]
pub struct Pack {
    /// pack.json.
    pub manifest: Manifest,
    /// Where it lies on the host.
    pub directory: PathBuf,
    schemas: HashMap<ComponentId, Schema>,
}

/// Why a pack cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such directory.
    #[error("there is no pack `{pack}`; remedy: packctl init {pack}")]
    Missing {
        /// The pack.
        pack: PackId,
    },
    /// The name is one of those the broker makes for handlers.
    #[error(
        "`{pack}` is a name that is kept for custom handlers, and there is no such handler; give the pack another name"
    )]
    Reserved {
        /// The pack.
        pack: PackId,
    },
    /// Its manifest cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The manifest.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// Its manifest is not valid.
    #[error("docker/packs/{pack}/pack.json: {source}")]
    Manifest {
        /// The pack.
        pack: PackId,
        /// The line or field, and what is wrong with it.
        source: ManifestError,
    },
    /// Its manifest is another pack's.
    #[error(
        "docker/packs/{pack}/pack.json: `id` is `{named}`; it must be `{pack}`, as the directory is called"
    )]
    OtherId {
        /// The pack.
        pack: PackId,
        /// What the manifest says.
        named: PackId,
    },
    /// A component's file is not there.
    #[error(
        "docker/packs/{pack}/pack.json: `entry` of `{component}` names `{entry}`, which is no file of the pack"
    )]
    NoEntry {
        /// The pack.
        pack: PackId,
        /// The component.
        component: ComponentId,
        /// The file.
        entry: String,
    },
    /// A component's name is too long for a socket.
    #[error(
        "docker/packs/{pack}/pack.json: `{component}` is longer than {LONGEST_COMPONENT} bytes; shorten the pack's or the component's name"
    )]
    LongName {
        /// The pack.
        pack: PackId,
        /// The component.
        component: ComponentId,
    },
    /// A component's schema is none.
    #[error(
        "docker/packs/{pack}/pack.json: `schema` of `{component}` is no valid JSON Schema: {message}"
    )]
    Schema {
        /// The pack.
        pack: PackId,
        /// The component.
        component: ComponentId,
        /// What is wrong with it.
        message: String,
    },
    /// Nothing would run.
    #[error("docker/packs/{pack}/pack.json: `components` is empty; a pack needs at least one")]
    Empty {
        /// The pack.
        pack: PackId,
    },
}

impl Pack {
    /// Reads and checks a pack.
    ///
    /// # Errors
    /// When it is missing or not valid; the message names the file and the field.
    pub fn load(packs: &Path, pack: &PackId) -> Result<Self, LoadError> {
        let directory = packs.join(pack.as_str());
        let manifest = read_manifest(&directory, pack)?;
        if manifest.id != *pack {
            return Err(LoadError::OtherId {
                pack: pack.clone(),
                named: manifest.id,
            });
        }
        if manifest.components.is_empty() {
            return Err(LoadError::Empty { pack: pack.clone() });
        }
        let mut schemas = HashMap::new();
        for component in &manifest.components {
            check(&directory, pack, component)?;
            if let Some(schema) = &component.schema {
                let compiled = Schema::compile(schema).map_err(|message| LoadError::Schema {
                    pack: pack.clone(),
                    component: component.id.clone(),
                    message,
                })?;
                schemas.insert(component.id.clone(), compiled);
            }
        }
        Ok(Self {
            manifest,
            directory,
            schemas,
        })
    }

    /// The names of all packs that have a directory here.
    ///
    /// # Errors
    /// When the directory of packs cannot be listed.
    pub fn all(packs: &Path) -> io::Result<Vec<PackId>> {
        let mut ids: Vec<PackId> = fs::read_dir(packs)?
            .flatten()
            .filter(|entry| entry.path().join("pack.json").exists())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|id: &PackId| !id.is_reserved())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Parses arguments and checks them against the component's schema.
    ///
    /// # Errors
    /// When they do not fit; the message names the field.
    pub fn arguments(
        &self,
        component: &ComponentId,
        text: &str,
    ) -> Result<Box<RawValue>, ArgumentsError> {
        let value: Value = serde_json::from_str(text).map_err(ArgumentsError::NotJson)?;
        if !value.is_object() {
            return Err(ArgumentsError::NotAnObject);
        }
        if let Some(schema) = self.schemas.get(component) {
            schema.check(&value)?;
        }
        // What was checked is what is sent: duplicate keys of the text do not survive.
        serde_json::value::to_raw_value(&value).map_err(ArgumentsError::NotJson)
    }

    /// What the pool of a component must know.
    #[must_use]
    pub fn tool(&self, component: &ComponentManifest, config: &Config) -> ToolSpec {
        let interpreter = match self.manifest.requirements {
            Requirements::None => SYSTEM_PYTHON,
            Requirements::File(_) | Requirements::Lines(_) => VENV_PYTHON,
        };
        let memory_bytes = component
            .memory_mb
            .map_or(config.tool.memory_mb.get() << 20, |mb| u64::from(mb) << 20);
        let pids = self
            .manifest
            .limits
            .pids
            .map_or(config.pack.pids.get(), |asked| {
                asked.min(config.pack.pids.get())
            })
            .min(CALL_PIDS);
        let service = component.id.kind() == Kind::Service;
        ToolSpec {
            component: component.id.clone(),
            interpreter: interpreter.to_owned(),
            entry: format!("{CODE}/{}", component.entry),
            timeout: Duration::from_millis(
                component.timeout_ms.unwrap_or(config.tool.timeout_ms.get()),
            ),
            memory_bytes,
            pids: u64::from(pids),
            output_bytes: config.tool.max_output.bytes(),
            spares: if service {
                0
            } else {
                usize::from(config.tool.spares.get()).max(1)
            },
            service,
        }
    }
}

fn read_manifest(directory: &Path, pack: &PackId) -> Result<Manifest, LoadError> {
    use std::io::Read as _;
    let path = directory.join("pack.json");
    let mut bytes = Vec::new();
    let read =
        fs::File::open(&path).and_then(|file| file.take(MAX_MANIFEST).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && pack.is_reserved() => {
            return Err(LoadError::Reserved { pack: pack.clone() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::Missing { pack: pack.clone() });
        }
        Err(source) => return Err(LoadError::Read { path, source }),
    }
    Manifest::parse(&bytes).map_err(|source| LoadError::Manifest {
        pack: pack.clone(),
        source,
    })
}

fn check(directory: &Path, pack: &PackId, component: &ComponentManifest) -> Result<(), LoadError> {
    if component.id.as_str().len() > LONGEST_COMPONENT {
        return Err(LoadError::LongName {
            pack: pack.clone(),
            component: component.id.clone(),
        });
    }
    let entry = directory.join(component.entry.as_str());
    let is_file = fs::symlink_metadata(&entry).is_ok_and(|metadata| metadata.is_file());
    if is_file {
        Ok(())
    } else {
        Err(LoadError::NoEntry {
            pack: pack.clone(),
            component: component.id.clone(),
            entry: component.entry.to_string(),
        })
    }
}
