//! Exact requests that the admin is no longer asked about.

use super::{EditError, Edited, finish, read};
use crate::ids::ComponentId;
use crate::json::Node;
use crate::permission::PermissionName;

/// Keeps one exact request in a permission that is there and in use; one that is kept already is
/// not kept twice.
pub fn keep_request(
    existing: Option<&[u8]>,
    component: &ComponentId,
    permission: &PermissionName,
    request: &str,
) -> Result<Edited, EditError> {
    let missing = || EditError::Missing {
        component: component.clone(),
        permission: permission.clone(),
    };
    let mut document = read(component, existing.ok_or_else(missing)?)?;
    let permissions = document.member("permissions").ok_or(EditError::Shape)?;
    let grant = match permissions.get(permission.as_str()) {
        Some(Node::Object(_)) => permissions.member(permission.as_str()),
        _ => return Err(missing()),
    };
    let grant = grant.ok_or(EditError::Shape)?;
    if grant.get("enabled") == Some(&Node::Bool(false)) {
        return Err(EditError::Disabled {
            component: component.clone(),
            permission: permission.clone(),
        });
    }
    let kept = grant.member("always").ok_or(EditError::Shape)?;
    let kept = kept.items().ok_or(EditError::Shape)?;
    let request = Node::Text(request.to_owned());
    let changed = !kept.contains(&request);
    if changed {
        kept.push(request);
    }
    finish(component, &document, changed)
}
