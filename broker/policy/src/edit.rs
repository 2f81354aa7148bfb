//! Changing a grant file without losing what an admin wrote into it.
//!
//! The order of keys stays, what a change does not concern stays, and a file that could not be
//! read is refused rather than overwritten.

mod always;
mod conditions;
mod custom;
mod values;

pub use always::keep_request;
pub use conditions::{ConditionsChange, Setting, set_conditions};
pub use custom::{add_custom, remove_custom};

use crate::grant::Grant;
use crate::ids::ComponentId;
use crate::json::Node;
use crate::permission::{Permission, PermissionName};
use crate::problem::Problem;
use crate::spelling::SpellingError;

/// Values to add to or to remove from one permission.
#[derive(Clone, Debug)]
pub struct Change {
    permission: Permission,
    lists: Vec<(&'static str, Vec<String>)>,
}

/// A grant file as it should be now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    pub bytes: Vec<u8>,
    pub changed: bool,
}

/// Why a grant file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Value(#[from] SpellingError),
    #[error("`{permission}` takes {takes}")]
    Values {
        permission: Permission,
        takes: &'static str,
    },
    #[error(transparent)]
    File(#[from] Box<Problem>),
    #[error("the grant is not an object of permissions with lists; put the file right first")]
    Shape,
    #[error(
        "`{permission}` is switched off for `{component}`, and adding to it would bring back all \
         that it lists; set `enabled` to true in the file, or run `packctl grant rm {component} \
         {permission}` first"
    )]
    Disabled {
        component: ComponentId,
        permission: PermissionName,
    },
    #[error("`--config` takes a JSON object: {0}")]
    Config(String),
    #[error("the grant of `{component}` has no `{permission}`")]
    Missing {
        component: ComponentId,
        permission: PermissionName,
    },
}

impl Change {
    /// Checks the words of a command line. `commands` are those of `--command`. Without any
    /// value it is a change of the whole permission, which only [`remove`] accepts.
    pub fn parse(
        permission: Permission,
        values: &[String],
        commands: &[String],
    ) -> Result<Self, EditError> {
        let lists = values::check(permission, values, commands)?;
        Ok(Self { permission, lists })
    }

    /// The same with files that are meant by themselves, and not with what lies beside them.
    pub fn with_files(mut self, files: &[String]) -> Result<Self, EditError> {
        if files.is_empty() {
            return Ok(self);
        }
        self.lists
            .push((values::FILES, values::files(self.permission, files)?));
        Ok(self)
    }

    fn is_whole(&self) -> bool {
        self.lists.iter().all(|(_, values)| values.is_empty())
    }
}

/// Adds values, making the file's contents where there is none yet. What is granted already,
/// as itself or as part of something wider, is not added again.
pub fn add(
    existing: Option<&[u8]>,
    component: &ComponentId,
    change: &Change,
) -> Result<Edited, EditError> {
    if change.is_whole() {
        let takes = values::takes(change.permission);
        return Err(EditError::Values {
            permission: change.permission,
            takes,
        });
    }
    let mut document = match existing {
        Some(bytes) => read(component, bytes)?,
        None => empty(component),
    };
    let key = change.permission.as_str();
    let off = Node::Bool(false);
    let permission = document
        .get("permissions")
        .and_then(|permissions| permissions.get(key));
    if permission.and_then(|permission| permission.get("enabled")) == Some(&off) {
        let component = component.clone();
        return Err(EditError::Disabled {
            component,
            permission: change.permission.into(),
        });
    }
    let new = permission.is_none();
    let changed = add_to(&mut document, change, new).ok_or(EditError::Shape)?;
    finish(component, &document, changed)
}

/// Removes values, or without any the whole permission. What is not there is no error.
pub fn remove(
    existing: &[u8],
    component: &ComponentId,
    change: &Change,
) -> Result<Edited, EditError> {
    let mut document = read(component, existing)?;
    let key = change.permission.as_str();
    if document
        .get("permissions")
        .and_then(|permissions| permissions.get(key))
        .is_none()
    {
        return finish(component, &document, false);
    }
    let changed = remove_from(&mut document, change).ok_or(EditError::Shape)?;
    finish(component, &document, changed)
}

fn add_to(document: &mut Node, change: &Change, new: bool) -> Option<bool> {
    let grant = document
        .member("permissions")?
        .member(change.permission.as_str())?;
    if new {
        *grant = fresh(change.permission);
    }
    let mut changed = new;
    let ports = values::ports_of(grant);
    for (name, wanted) in change.lists.iter().filter(|(_, wanted)| !wanted.is_empty()) {
        let items = grant.member(name)?.items()?;
        for value in wanted {
            let value = values::spelling_to_add(name, value, ports.as_deref());
            if !values::is_covered(name, items, &value, ports.as_deref()) {
                items.push(Node::Text(value));
                changed = true;
            }
        }
    }
    Some(changed)
}

fn remove_from(document: &mut Node, change: &Change) -> Option<bool> {
    let permissions = document.member("permissions")?;
    let key = change.permission.as_str();
    if change.is_whole() {
        permissions.remove(key);
        return Some(true);
    }
    let grant = permissions.member(key)?;
    let ports = values::ports_of(grant);
    let mut changed = false;
    for (name, unwanted) in change.lists.iter().filter(|(_, values)| !values.is_empty()) {
        if grant.get(name).is_none() {
            continue;
        }
        let items = grant.member(name)?.items()?;
        for value in unwanted {
            changed |= values::take_out(name, items, value, ports.as_deref());
        }
    }
    Some(changed)
}

/// A permission that allows nothing yet. A network grant names its port, so that it means the
/// same whatever the scope's default is.
fn fresh(permission: Permission) -> Node {
    let lists = values::lists_of(permission).iter();
    let mut entries = vec![("enabled".to_owned(), Node::Bool(true))];
    entries.extend(lists.map(|name| ((*name).to_owned(), Node::List(Vec::new()))));
    if permission == Permission::Network {
        let ports = Node::List(vec![Node::Number(443.into())]);
        entries.push(("allowed_ports".to_owned(), ports));
    }
    Node::Object(entries)
}

/// Reads the file as a grant first: one that is not valid is not edited but shown.
fn read(component: &ComponentId, bytes: &[u8]) -> Result<Node, EditError> {
    let name = component.grant_file();
    Grant::parse(&name, bytes).map_err(Box::new)?;
    let document = Node::parse(bytes);
    Ok(document.map_err(|error| Box::new(Problem::new(&name, error, "put it right first")))?)
}

fn empty(component: &ComponentId) -> Node {
    Node::Object(vec![
        ("component_id".to_owned(), Node::Text(component.to_string())),
        ("permissions".to_owned(), Node::Object(Vec::new())),
    ])
}

/// The new document is read once more as what it is meant to be, so that no change can leave a
/// file behind that would deny its component.
fn finish(component: &ComponentId, document: &Node, changed: bool) -> Result<Edited, EditError> {
    let bytes = document.to_pretty();
    Grant::parse(&component.grant_file(), &bytes).map_err(Box::new)?;
    Ok(Edited { bytes, changed })
}
