//! Grants as an admin writes them.

pub(crate) mod custom;
pub(crate) mod inject;
pub(crate) mod network;
mod secrets;
mod terminal;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;

use crate::conditions::Conditions;
use crate::ids::{ComponentId, EnvKey, HandlerName};
use crate::json::{Fields, JsonError, Node};
use crate::path::AbsPath;
use crate::pattern::Pattern;
use crate::permission::{Permission, PermissionName};
use crate::problem::Problem;
use crate::spelling::SpellingError;
pub use custom::CustomGrant;
pub use inject::{Inject, InjectHost, InjectedHeader};
pub use network::{DomainEntry, NetworkGrant, TcpEntry};
pub(crate) use terminal::Misfit;
pub use terminal::{AllowedCommand, Command, TerminalGrant, TerminalMode};

/// What one component was given.
#[derive(Clone, Debug)]
pub struct Grant {
    component: ComponentId,
    permissions: Permissions,
}

/// The permissions of a grant, or of a pack's wish for one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Permissions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_read: Option<FileGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_write: Option<FileGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_read: Option<EnvGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkGrant>,
    /// By the handler's name. Handlers come and go, so that one that is not there is no mistake.
    #[serde(flatten)]
    pub custom: BTreeMap<HandlerName, CustomGrant>,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileGrant {
    pub enabled: bool,
    pub directories: Vec<AbsPath>,
    /// Paths that are granted by themselves: neither what lies beside them nor below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<AbsPath>>,
    /// Where given, a file must match one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Vec<Pattern>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<Pattern>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// `file_write`: the bytes that all it made may come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// `file_write`: the files and directories that it may have made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_files: Option<u64>,
    /// `file_read`: whether the kernel may read files below `/files` by itself once they are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<bool>,
    #[serde(flatten)]
    pub conditions: Conditions,
}

#[derive(Clone, Debug, Serialize)]
pub struct EnvGrant {
    pub enabled: bool,
    pub allowed_keys: Vec<EnvKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    #[serde(flatten)]
    pub conditions: Conditions,
}

impl Grant {
    /// Reads a grant from a file of this name.
    pub fn parse(file_name: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let file = format!("grants/{file_name}");
        let problem = |error| {
            Problem::new(
                &file,
                error,
                "correct it as grants/grant.schema.json says; until then this component is denied",
            )
        };
        let component = component_of(file_name).map_err(|error| {
            Problem::new(
                &file,
                error,
                "rename it to `<component_id>.json`; it has no effect as it is",
            )
        })?;
        Self::read(component, bytes).map_err(problem)
    }

    fn read(component: ComponentId, bytes: &[u8]) -> Result<Self, JsonError> {
        let mut fields = Fields::open("", Node::parse(bytes)?)?;
        if let Some(node) = fields.take("$schema") {
            fields.text("$schema", node)?;
        }
        let named: ComponentId = fields.parsed("component_id")?;
        if named != component {
            let message = format!("this names `{named}`, but the file's name says `{component}`");
            return Err(fields.error("component_id", message));
        }
        let node = fields.require("permissions")?;
        let permissions = Permissions::read("permissions", node, Wish::Granted)?;
        fields.finish()?;
        Ok(Self {
            component,
            permissions,
        })
    }

    pub fn component(&self) -> &ComponentId {
        &self.component
    }

    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    pub fn file_read(&self) -> Option<&FileGrant> {
        self.permissions.file_read.as_ref()
    }

    pub fn file_write(&self) -> Option<&FileGrant> {
        self.permissions.file_write.as_ref()
    }

    pub fn env_read(&self) -> Option<&EnvGrant> {
        self.permissions.env_read.as_ref()
    }

    pub fn terminal(&self) -> Option<&TerminalGrant> {
        self.permissions.terminal.as_ref()
    }

    pub fn network(&self) -> Option<&NetworkGrant> {
        self.permissions.network.as_ref()
    }

    /// What is said about the use of a permission, where the grant names it.
    pub fn conditions(&self, permission: &PermissionName) -> Option<&Conditions> {
        let given = &self.permissions;
        match permission {
            PermissionName::BuiltIn(Permission::FileRead) => {
                given.file_read.as_ref().map(|grant| &grant.conditions)
            }
            PermissionName::BuiltIn(Permission::FileWrite) => {
                given.file_write.as_ref().map(|grant| &grant.conditions)
            }
            PermissionName::BuiltIn(Permission::EnvRead) => {
                given.env_read.as_ref().map(|grant| &grant.conditions)
            }
            PermissionName::BuiltIn(Permission::Terminal) => {
                given.terminal.as_ref().map(|grant| &grant.conditions)
            }
            PermissionName::BuiltIn(Permission::Network) => {
                given.network.as_ref().map(|grant| &grant.conditions)
            }
            PermissionName::Custom(name) => given.custom.get(name).map(|grant| &grant.conditions),
        }
    }

    pub fn custom(&self) -> &BTreeMap<HandlerName, CustomGrant> {
        &self.permissions.custom
    }
}

pub(crate) fn component_of(file_name: &str) -> Result<ComponentId, JsonError> {
    let stem = file_name.strip_suffix(".json").unwrap_or(file_name);
    stem.parse().map_err(|error: SpellingError| {
        JsonError::whole(format!("the file's name is wrong: {error}"))
    })
}

/// Whether the permissions are given or only wished for: a wish has no `enabled`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wish {
    Granted,
    Wished,
}

impl Permissions {
    pub(crate) fn read(at: &str, node: Node, wish: Wish) -> Result<Self, JsonError> {
        let mut fields = Fields::open(at, node)?;
        let mut permissions = Self::default();
        for permission in Permission::ALL {
            let key = permission.as_str();
            let Some(node) = fields.take(key) else {
                continue;
            };
            let inner = Fields::open(fields.name(key), node)?;
            match permission {
                Permission::FileRead => {
                    permissions.file_read = Some(read_file(inner, wish, permission)?);
                }
                Permission::FileWrite => {
                    permissions.file_write = Some(read_file(inner, wish, permission)?);
                }
                Permission::EnvRead => permissions.env_read = Some(read_env(inner, wish)?),
                Permission::Terminal => permissions.terminal = Some(terminal::read(inner, wish)?),
                Permission::Network => permissions.network = Some(network::read(inner, wish)?),
            }
        }
        for (key, node) in fields.drain() {
            let name: HandlerName = key.parse().map_err(|error: SpellingError| {
                let known = Permission::ALL.map(|known| format!("`{known}`")).join(", ");
                let why = error.why();
                let message = format!(
                    "there is no such field; known here are {known} and names of handlers ({why})"
                );
                fields.error(&key, message)
            })?;
            let inner = Fields::open(fields.name(&key), node)?;
            let grant = CustomGrant::read(inner, wish)?;
            permissions.custom.insert(name, grant);
        }
        Ok(permissions)
    }
}

fn enabled(fields: &mut Fields, wish: Wish) -> Result<bool, JsonError> {
    match wish {
        Wish::Wished => Ok(true),
        Wish::Granted => {
            let node = fields.require("enabled")?;
            fields.bool("enabled", node)
        }
    }
}

fn required_list<T>(fields: &mut Fields, key: &'static str) -> Result<Vec<T>, JsonError>
where
    T: FromStr + PartialEq,
    T::Err: std::fmt::Display,
{
    fields
        .list(key)?
        .ok_or_else(|| fields.error(key, "this field is missing; `[]` allows nothing"))
}

fn read_file(
    mut fields: Fields,
    wish: Wish,
    permission: Permission,
) -> Result<FileGrant, JsonError> {
    let mut grant = FileGrant {
        enabled: enabled(&mut fields, wish)?,
        directories: required_list(&mut fields, "directories")?,
        files: files(&mut fields)?,
        patterns: fields.list("patterns")?,
        exclude: fields.list("exclude")?,
        max_bytes: fields.number("max_bytes", u64::MAX)?,
        quota_bytes: None,
        quota_files: None,
        passthrough: None,
        conditions: Conditions::read(&mut fields, wish)?,
    };
    if permission == Permission::FileWrite {
        grant.quota_bytes = fields.number("quota_bytes", u64::MAX)?;
        grant.quota_files = fields.number("quota_files", u64::MAX)?;
    } else if let Some(node) = fields.take("passthrough") {
        grant.passthrough = Some(fields.bool("passthrough", node)?);
    }
    fields.finish()?;
    Ok(grant)
}

/// Files by their own paths. Each lies in a directory that is held open for it, so that `/` is none.
fn files(fields: &mut Fields) -> Result<Option<Vec<AbsPath>>, JsonError> {
    let files: Option<Vec<AbsPath>> = fields.list("files")?;
    let root = |files: &Vec<AbsPath>| files.iter().position(AbsPath::is_root);
    match files.as_ref().and_then(root) {
        Some(index) => {
            let message = "`/` is no file; name the file itself";
            Err(fields.error(&format!("files[{index}]"), message))
        }
        None => Ok(files),
    }
}

fn read_env(mut fields: Fields, wish: Wish) -> Result<EnvGrant, JsonError> {
    let grant = EnvGrant {
        enabled: enabled(&mut fields, wish)?,
        allowed_keys: required_list(&mut fields, "allowed_keys")?,
        max_bytes: fields.number("max_bytes", u64::MAX)?,
        conditions: Conditions::read(&mut fields, wish)?,
    };
    fields.finish()?;
    Ok(grant)
}
