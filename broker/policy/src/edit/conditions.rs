//! Conditions of a permission that is granted already; nothing else of it is touched.

use super::{EditError, Edited, finish, read};
use crate::ids::ComponentId;
use crate::json::Node;
use crate::permission::PermissionName;
use crate::timestamp::Timestamp;

/// What becomes of one condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// It stays as it is.
    #[default]
    Kept,
    /// There is none any more.
    Removed,
    Set(T),
}

/// What becomes of the conditions of a permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionsChange {
    pub not_before: Setting<Timestamp>,
    pub expires_at: Setting<Timestamp>,
    pub max_uses: Setting<u64>,
    pub rate_per_minute: Setting<u32>,
    pub ask: Setting<()>,
}

impl ConditionsChange {
    /// Whether everything stays as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes the conditions of a permission that the file names.
pub fn set_conditions(
    existing: Option<&[u8]>,
    component: &ComponentId,
    permission: &PermissionName,
    change: &ConditionsChange,
) -> Result<Edited, EditError> {
    let not_granted = || EditError::Missing {
        component: component.clone(),
        permission: permission.clone(),
    };
    let mut document = read(component, existing.ok_or_else(not_granted)?)?;
    let permissions = document.member("permissions").ok_or(EditError::Shape)?;
    if permissions.get(permission.as_str()).is_none() {
        return Err(not_granted());
    }
    let grant = permissions
        .member(permission.as_str())
        .ok_or(EditError::Shape)?;
    let before = grant.clone();
    let time = |at: &Timestamp| Node::Text(at.as_str().to_owned());
    put(grant, "not_before", &change.not_before, time)?;
    put(grant, "expires_at", &change.expires_at, time)?;
    put(grant, "max_uses", &change.max_uses, |most| {
        Node::Number((*most).into())
    })?;
    put(grant, "rate_per_minute", &change.rate_per_minute, |most| {
        Node::Number((*most).into())
    })?;
    put(grant, "ask", &change.ask, |()| Node::Bool(true))?;
    let changed = *grant != before;
    finish(component, &document, changed)
}

fn put<T>(
    grant: &mut Node,
    key: &str,
    setting: &Setting<T>,
    node: impl Fn(&T) -> Node,
) -> Result<(), EditError> {
    match setting {
        Setting::Kept => {}
        Setting::Removed => grant.remove(key),
        Setting::Set(value) => *grant.member(key).ok_or(EditError::Shape)? = node(value),
    }
    Ok(())
}
