//! Reads a pack from its directory, once, and checks what a manifest alone cannot know.

use std::{collections::HashMap, fs, io, path::Path, sync::Arc};

use rumi_policy::{
    ComponentId, PackId,
    manifest::{Base, Manifest, ManifestError, Runner},
};
use serde_json::{Value, value::RawValue};

use super::{
    schema::{ArgumentsError, Schema},
    start::StartError,
};
use crate::{
    config::BuildSettings,
    container::{Blueprint, BuildError, BuildRequest, Context, ContextError},
};

/// What a pack says of itself.
const MANIFEST: &str = "pack.json";
/// A component's socket must fit the 107 bytes of a socket's path inside the container.
const LONGEST_COMPONENT: usize = 90;
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
    /// Nobody configured such a runner.
    #[error(
        "docker/packs/{pack}/pack.json: `runner` of `{component}` is `{runner}`, which is not known; known are {known}; remedy: use one of them, or add it to `runners` in docker/config.json and start the broker anew"
    )]
    Runner {
        /// The pack.
        pack: PackId,
        /// The component.
        component: ComponentId,
        /// What the manifest names.
        runner: String,
        /// What there is.
        known: String,
    },
    /// Its image has no Node.js.
    #[error(
        "docker/packs/{pack}/pack.json: `{component}` is written in JavaScript, and `base` names an image without Node.js; remedy: \"base\": \"node\", or leave `base` out"
    )]
    NoNode {
        /// The pack.
        pack: PackId,
        /// The component.
        component: ComponentId,
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
        // Its own Dockerfile may bring a Node.js that nobody here knows of.
        if pack.manifest.base != Base::Node && blueprint.instructions().next().is_none() {
            let mut components = pack.manifest.components.iter();
            if let Some(component) = components.find(|one| one.runner == Runner::JavaScript) {
                return Err(StartError::Load(LoadError::NoNode {
                    pack: id.clone(),
                    component: component.id.clone(),
                }));
            }
        }
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
}
