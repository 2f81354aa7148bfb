//! Reads a pack from its directory, once, and checks what a manifest alone cannot know.

use std::{collections::HashMap, fs, io, path::Path, sync::Arc, time::Duration};

use rumi_policy::{
    ComponentId, Kind, PackId,
    manifest::{ComponentManifest, Manifest, ManifestError, Requirements},
};
use serde_json::{Value, value::RawValue};

use super::{
    schema::{ArgumentsError, Schema},
    start::StartError,
};
use crate::{
    config::{BuildSettings, Config},
    container::{Blueprint, BuildError, BuildRequest, Context, ContextError},
    workers::ToolSpec,
};

/// Where a pack's code lies inside its container.
const CODE: &str = "/opt/pack";
/// The interpreter of packs without requirements of their own.
const SYSTEM_PYTHON: &str = "/usr/bin/python3.11";
/// The interpreter of packs with requirements.
const VENV_PYTHON: &str = "/opt/venv/bin/python";
/// What a pack says of itself.
const MANIFEST: &str = "pack.json";
/// A component's socket must fit the 107 bytes of a socket's path inside the container.
const LONGEST_COMPONENT: usize = 90;
/// Processes and threads of one call, unless the pack may have fewer.
const CALL_PIDS: u32 = 64;

/// What a pack is to those who call it.
#[derive(Debug)]
pub struct Pack {
    /// pack.json.
    pub manifest: Manifest,
    schemas: HashMap<ComponentId, Schema>,
}

/// A pack as it lay there at one moment. It is built from this, and its directory is not
/// looked into again: what was approved is what is built.
#[derive(Debug)]
pub struct Source {
    /// What it says of itself.
    pub pack: Arc<Pack>,
    /// The text of pack.json.
    pub manifest: String,
    /// What its image is made from.
    pub blueprint: Blueprint,
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
    /// Its manifest is not to be taken for one.
    #[error(
        "docker/packs/{pack}/pack.json is no regular file; a pack is read without following links"
    )]
    NoFile {
        /// The pack.
        pack: PackId,
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

impl Source {
    /// Reads and checks a pack. It takes its time: not for a thread that others wait for.
    ///
    /// # Errors
    /// When it is missing or not valid; the message names the file and the field.
    pub fn read(packs: &Path, id: &PackId, settings: &BuildSettings) -> Result<Self, StartError> {
        let directory = packs.join(id.as_str());
        let context = Context::read(&directory).map_err(|error| match error {
            ContextError::Read { path, source }
                if source.kind() == io::ErrorKind::NotFound && path == directory =>
            {
                StartError::Load(absent(id))
            }
            error => BuildError::from(error).into(),
        })?;
        let Some(manifest) = context.file(MANIFEST) else {
            let there = directory.join(MANIFEST).symlink_metadata().is_ok();
            let no_file = || LoadError::NoFile { pack: id.clone() };
            return Err(if there { no_file() } else { absent(id) }.into());
        };
        let text = String::from_utf8_lossy(manifest).into_owned();
        let pack = Pack::parse(id, manifest)?;
        for component in &pack.manifest.components {
            if context.file(component.entry.as_str()).is_none() {
                return Err(StartError::Load(LoadError::NoEntry {
                    pack: id.clone(),
                    component: component.id.clone(),
                    entry: component.entry.to_string(),
                }));
            }
        }
        let request = BuildRequest {
            pack: id,
            directory: &directory,
            context,
            base: pack.manifest.base,
            requirements: &pack.manifest.requirements,
        };
        let blueprint = Blueprint::read(request, settings)?;
        Ok(Self {
            pack: Arc::new(pack),
            manifest: text,
            blueprint,
        })
    }
}

fn absent(pack: &PackId) -> LoadError {
    let pack = pack.clone();
    if pack.is_reserved() {
        LoadError::Reserved { pack }
    } else {
        LoadError::Missing { pack }
    }
}

impl Pack {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// When it is not valid; the message names the field.
    pub fn parse(pack: &PackId, manifest: &[u8]) -> Result<Self, LoadError> {
        let manifest = Manifest::parse(manifest).map_err(|source| LoadError::Manifest {
            pack: pack.clone(),
            source,
        })?;
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
            if component.id.as_str().len() > LONGEST_COMPONENT {
                return Err(LoadError::LongName {
                    pack: pack.clone(),
                    component: component.id.clone(),
                });
            }
            if let Some(schema) = &component.schema {
                let compiled = Schema::compile(schema).map_err(|message| LoadError::Schema {
                    pack: pack.clone(),
                    component: component.id.clone(),
                    message,
                })?;
                schemas.insert(component.id.clone(), compiled);
            }
        }
        Ok(Self { manifest, schemas })
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
