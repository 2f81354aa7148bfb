//! What a person may have overlooked about a custom handler that a grant names.

use rumi_policy::{ComponentId, HandlerName, Permission};

use super::directories::Remark;
use crate::{context::Context, failure::Failure};

/// A handler is given a configuration; words beside its name were meant for something else.
pub(super) fn takes_no_values(handler: &HandlerName) -> Failure {
    let meant = close(handler).map_or_else(
        || {
            format!(
                "a handler takes `--config JSON`; permissions are {}",
                known()
            )
        },
        |permission| format!("did you mean `{permission}`? A handler takes `--config JSON`"),
    );
    Failure::Usage {
        message: format!(
            "`{handler}` is no permission of the broker's own, and a handler takes no values"
        ),
        hint: meant,
    }
}

/// Whether a file of this name lies in docker/handlers.
pub(super) fn is_there(context: &Context, handler: &HandlerName) -> bool {
    matches!(missing(context, handler), Ok(None))
}

/// Says so where no file of this name lies in docker/handlers: the grant is valid, and every
/// call is refused.
///
/// # Errors
/// When the home directory is none.
pub(super) fn missing(context: &Context, handler: &HandlerName) -> Result<Option<Remark>, Failure> {
    let path = context
        .home()?
        .join("docker/handlers")
        .join(format!("{handler}.py"));
    if path.is_file() {
        return Ok(None);
    }
    let remedy = match close(handler) {
        Some(permission) => format!("did you mean `{permission}`?"),
        None => format!(
            "put its file there, or take the grant away; permissions of the broker's own are {}",
            known()
        ),
    };
    Ok(Some(Remark {
        message: format!("there is no handler `{handler}` (`{}`)", path.display()),
        remedy,
    }))
}

/// Why no handler has this component, if so: a handler has grants of its own like any tool.
///
/// # Errors
/// When the home directory is none.
pub(super) fn no_component(
    context: &Context,
    component: &ComponentId,
    handler: &HandlerName,
) -> Result<Option<Remark>, Failure> {
    let own = handler.component();
    if *component != own {
        return Ok(Some(Remark {
            message: format!("the handler `{handler}` has no component `{component}`"),
            remedy: format!("its component is `{own}`"),
        }));
    }
    missing(context, handler)
}

fn known() -> String {
    Permission::ALL.map(|one| format!("`{one}`")).join(", ")
}

/// The permission that is at most two letters away.
fn close(handler: &HandlerName) -> Option<Permission> {
    Permission::ALL
        .into_iter()
        .find(|permission| distance(permission.as_str(), handler.as_str()) <= 2)
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (index, a) in one.bytes().enumerate() {
        let mut before = index;
        let mut left = index + 1;
        for (place, b) in row.iter_mut().skip(1).zip(two.bytes()) {
            let changed = before + usize::from(a != b);
            before = *place;
            left = changed.min(*place + 1).min(left + 1);
            *place = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_permission_is_told_from_a_handler() {
        for (name, meant) in [
            ("file_raed", Some(Permission::FileRead)),
            ("file_red", Some(Permission::FileRead)),
            ("terminals", Some(Permission::Terminal)),
            ("netwrk", Some(Permission::Network)),
            ("sqlite_query", None),
            ("clock", None),
        ] {
            assert_eq!(close(&name.parse().unwrap()), meant, "{name}");
        }
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
