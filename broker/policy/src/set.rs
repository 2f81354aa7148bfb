//! All policy files together, as one value that is swapped whole.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::compile::{Rights, Scopes};
use crate::grant::{Grant, component_of};
use crate::id_hasher::ById;
use crate::ids::{ComponentId, HandlerName};
use crate::json::JsonError;
use crate::path::AbsPath;
use crate::permission::Permission;
use crate::problem::Problem;
use crate::quota::Quota;
use crate::rules::Slot;
use crate::scope::Scope;
use crate::scope::custom::CustomScope;
use crate::stamp::PolicyHash;

/// Largest policy file. Whoever reads the files need not read more than one byte beyond it.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A file as it was read; `name` is without its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Everything a policy is made from.
#[derive(Clone, Debug, Default)]
pub struct PolicySource {
    pub grants: Vec<SourceFile>,
    pub scopes: Vec<SourceFile>,
    /// The broker's own files and sockets, refused inside every grant.
    pub protected: Vec<AbsPath>,
}

/// The policy in force.
#[derive(Debug)]
pub struct PolicySet {
    entries: HashMap<ComponentId, Entry, ById>,
    scopes: Scopes,
    problems: Vec<Problem>,
    files: Vec<String>,
    hash: PolicyHash,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Valid(Arc<Rights>),
    /// There is a file for this component, and it says nothing that could be relied on.
    Invalid,
}

impl PolicySet {
    /// Makes a policy of whatever was read. What is wrong denies those whom it concerns, is
    /// listed in [`Self::problems`], and leaves everybody else alone.
    pub fn compile(mut source: PolicySource) -> Self {
        source.grants.retain(|file| is_policy_file(&file.name));
        source.scopes.retain(|file| is_policy_file(&file.name));
        source.grants.sort_by(|a, b| a.name.cmp(&b.name));
        source.scopes.sort_by(|a, b| a.name.cmp(&b.name));
        source.protected.sort();
        let mut set = Self {
            entries: HashMap::with_capacity_and_hasher(source.grants.len(), ById::default()),
            scopes: Scopes::default(),
            problems: Vec::new(),
            files: Vec::new(),
            hash: hash(&source),
        };
        set.load_scopes(&source);
        for file in &source.grants {
            set.files.push(format!("grants/{}", file.name));
            set.load_grant(file);
        }
        set
    }

    fn load_scopes(&mut self, source: &PolicySource) {
        for file in &source.scopes {
            let path = format!("scopes/{}", file.name);
            let stem = file.name.strip_suffix(".json").unwrap_or(&file.name);
            if let Ok(handler) = stem.parse::<HandlerName>() {
                self.load_custom_scope(&path, handler, file);
            } else {
                let scope = check_size(&path, file)
                    .and_then(|()| Scope::parse(&file.name, &file.bytes, &source.protected));
                match scope {
                    Ok(scope) => self.scopes.insert(scope),
                    Err(problem) => self.problems.push(problem),
                }
            }
            self.files.push(path);
        }
        for permission in Permission::ALL {
            let name = format!("scopes/{permission}.json");
            if !self.files.contains(&name) {
                let remedy =
                    format!("put it back; until then `{permission}` is denied to everybody");
                self.problems.push(Problem::new(
                    &name,
                    JsonError::whole("the file is missing"),
                    remedy,
                ));
            }
        }
    }

    fn load_custom_scope(&mut self, path: &str, handler: HandlerName, file: &SourceFile) {
        let scope = check_size(path, file).and_then(|()| CustomScope::parse(&handler, &file.bytes));
        let scope = scope.map_err(|problem| self.problems.push(problem)).ok();
        self.scopes.insert_custom(handler, scope);
    }

    fn load_grant(&mut self, file: &SourceFile) {
        let path = format!("grants/{}", file.name);
        let rights = check_size(&path, file).and_then(|()| {
            let grant = Grant::parse(&file.name, &file.bytes)?;
            Rights::compile(&file.name, grant, &self.scopes).map_err(|error| {
                Problem::new(
                    &path,
                    error,
                    "correct it as grants/grant.schema.json says; until then this component is denied",
                )
            })
        });
        let entry = match rights {
            Ok(rights) => {
                let misfits = rights.misfits();
                self.problems.extend(misfits.map(|error| {
                    Problem::new(
                        &path,
                        error,
                        "correct it as the scope says; until then this handler is denied",
                    )
                }));
                Entry::Valid(Arc::new(rights))
            }
            Err(problem) => {
                self.problems.push(problem);
                Entry::Invalid
            }
        };
        if let Ok(component) = component_of(&file.name) {
            self.entries.insert(component, entry);
        }
    }

    pub(crate) fn entry(&self, component: &ComponentId) -> Option<&Entry> {
        self.entries.get(component)
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// What is wrong, in the order of the files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// The files this policy was made from, as `grants/…` and `scopes/…`.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The components that have a valid grant, in no order.
    pub fn components(&self) -> impl Iterator<Item = &ComponentId> {
        let valid = |(component, entry): (_, &Entry)| match entry {
            Entry::Valid(_) => Some(component),
            Entry::Invalid => None,
        };
        self.entries.iter().filter_map(valid)
    }

    pub fn grant(&self, component: &ComponentId) -> Option<&Grant> {
        match self.entries.get(component)? {
            Entry::Valid(rights) => Some(&rights.grant),
            Entry::Invalid => None,
        }
    }

    /// The valid scope of a handler.
    pub fn custom_scope(&self, handler: &HandlerName) -> Option<&CustomScope> {
        self.scopes.custom(handler)
    }

    /// What all that the component makes may come to; nothing where it may write nothing.
    pub fn quota(&self, component: &ComponentId) -> Option<Quota> {
        match self.entries.get(component)? {
            Entry::Valid(rights) => match &rights.file_write {
                Slot::Ready(rule, _) => Some(rule.quota),
                Slot::Missing | Slot::Disabled | Slot::ScopeInvalid => None,
            },
            Entry::Invalid => None,
        }
    }

    pub fn scope(&self, permission: Permission) -> Option<&Scope> {
        self.scopes.get(permission)
    }
}

/// Editors leave backups and hidden files, and the schemas lie beside the data.
fn is_policy_file(name: &str) -> bool {
    name.ends_with(".json") && !name.ends_with(".schema.json") && !name.starts_with('.')
}

fn check_size(path: &str, file: &SourceFile) -> Result<(), Problem> {
    if file.bytes.len() <= MAX_FILE_BYTES {
        return Ok(());
    }
    let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
    Err(Problem::new(
        path,
        JsonError::whole(message),
        "make it smaller; it is refused as it is",
    ))
}

/// Lengths go in before contents, so that no two different sets of files hash alike.
fn hash(source: &PolicySource) -> PolicyHash {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(bytes);
    };
    for (directory, files) in [("grants", &source.grants), ("scopes", &source.scopes)] {
        part(directory.as_bytes());
        part(&files.len().to_be_bytes());
        for file in files {
            part(file.name.as_bytes());
            part(&file.bytes);
        }
    }
    part(b"protected");
    for path in &source.protected {
        part(path.as_str().as_bytes());
    }
    PolicyHash::new(hasher.finalize().into())
}
