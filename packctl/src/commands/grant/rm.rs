//! `packctl grant rm COMPONENT PERMISSION [VALUE…]`

use rumi_policy::{ComponentId, Permission, edit};

use super::{change, permission, show};
use crate::{context::Context, failure::Failure};

/// Take something, or a whole permission, away from a component
///
/// Takes effect within a second; what is open under the grant is cut.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,

    /// The permission
    #[arg(value_parser = permission())]
    permission: Permission,

    /// What to take away; the whole permission when nothing is named
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// A program the terminal may no longer run; may be repeated
    #[arg(long = "command", value_name = "CMD")]
    commands: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let edit = edit::Change::parse(self.permission, &self.values, &self.commands)
            .map_err(|error| change::refused(&error))?;
        change::apply(context, &self.component, |before| {
            let before = before.ok_or_else(|| show::none(&self.component))?;
            edit::remove(before, &self.component, &edit).map_err(|error| change::refused(&error))
        })
    }
}
