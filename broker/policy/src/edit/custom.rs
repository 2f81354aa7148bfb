//! Grants of custom handlers, whose configuration is one JSON object and no lists.

use super::{EditError, Edited, empty, finish, read};
use crate::conditions::Conditions;
use crate::ids::{ComponentId, HandlerName};
use crate::json::Node;
use crate::permission::PermissionName;

/// Grants a handler, with the keys of `config` in the place of those that were there.
pub fn add_custom(
    existing: Option<&[u8]>,
    component: &ComponentId,
    handler: &HandlerName,
    config: Option<&str>,
) -> Result<Edited, EditError> {
    let config = match config {
        None => Vec::new(),
        Some(text) => match Node::parse(text.as_bytes()) {
            Ok(Node::Object(entries)) => entries,
            Ok(other) => return Err(EditError::Config(format!("this is {}", other.kind()))),
            Err(error) => return Err(EditError::Config(error.sentence())),
        },
    };
    if config.iter().any(|(key, _)| key == "enabled") {
        let why = "`enabled` is set by `grant add` and by nothing else";
        return Err(EditError::Config(why.to_owned()));
    }
    if let Some((key, _)) = config
        .iter()
        .find(|(key, _)| Conditions::KEYS.contains(&key.as_str()))
    {
        let why = format!("`{key}` is a condition of the grant and no part of the configuration");
        return Err(EditError::Config(why));
    }
    let mut document = match existing {
        Some(bytes) => read(component, bytes)?,
        None => empty(component),
    };
    let permissions = document.member("permissions").ok_or(EditError::Shape)?;
    let grant = permissions
        .member(handler.as_str())
        .ok_or(EditError::Shape)?;
    if grant.get("enabled") == Some(&Node::Bool(false)) {
        return Err(EditError::Disabled {
            component: component.clone(),
            permission: PermissionName::Custom(handler.clone()),
        });
    }
    let before = grant.clone();
    if before == Node::Null {
        *grant = Node::Object(vec![("enabled".to_owned(), Node::Bool(true))]);
    }
    for (key, value) in config {
        *grant.member(&key).ok_or(EditError::Shape)? = value;
    }
    let changed = *grant != before;
    finish(component, &document, changed)
}

/// Takes keys out of a handler's configuration, or without any the whole permission.
pub fn remove_custom(
    existing: &[u8],
    component: &ComponentId,
    handler: &HandlerName,
    keys: &[String],
) -> Result<Edited, EditError> {
    let mut document = read(component, existing)?;
    let permissions = document.member("permissions").ok_or(EditError::Shape)?;
    let before = permissions.clone();
    if keys.is_empty() {
        permissions.remove(handler.as_str());
    } else if permissions.get(handler.as_str()).is_some() {
        if keys.iter().any(|key| key == "enabled") {
            let why = "`enabled` is no part of the configuration; without any key the whole permission is removed";
            return Err(EditError::Config(why.to_owned()));
        }
        let grant = permissions
            .member(handler.as_str())
            .ok_or(EditError::Shape)?;
        keys.iter().for_each(|key| grant.remove(key));
    }
    let changed = *permissions != before;
    finish(component, &document, changed)
}
