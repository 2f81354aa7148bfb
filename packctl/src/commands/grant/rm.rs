//! `packctl grant rm COMPONENT PERMISSION [VALUE…]`

use rumi_policy::{ComponentId, PermissionName, edit};

use super::{change, handlers, permission, show};
use crate::{context::Context, failure::Failure};

/// Take something, or a whole permission, away from a component
///
/// Takes effect within a second; what is open under the grant is cut.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,

    /// The permission, or the name of a custom handler
    #[arg(value_parser = permission())]
    permission: PermissionName,

    /// What to take away (of a handler: keys of its configuration); the whole permission when nothing is named
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// A program the terminal may no longer run; may be repeated
    #[arg(long = "command", value_name = "CMD")]
    commands: Vec<String>,

    /// A file that was granted by itself; may be repeated
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let built_in = match &self.permission {
            PermissionName::BuiltIn(permission) => *permission,
            PermissionName::Custom(handler) => {
                if !(self.commands.is_empty() && self.files.is_empty()) {
                    return Err(handlers::takes_no_values(handler));
                }
                return change::apply(context, &self.component, |before| {
                    let before = before.ok_or_else(|| show::none(&self.component))?;
                    edit::remove_custom(before, &self.component, handler, &self.values)
                        .map_err(|error| change::refused(&error))
                });
            }
        };
        let edit = edit::Change::parse(built_in, &self.values, &self.commands)
            .and_then(|change| change.with_files(&self.files))
            .map_err(|error| change::refused(&error))?;
        change::apply(context, &self.component, |before| {
            let before = before.ok_or_else(|| show::none(&self.component))?;
            edit::remove(before, &self.component, &edit).map_err(|error| change::refused(&error))
        })
    }
}
