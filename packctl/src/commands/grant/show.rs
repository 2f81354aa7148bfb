//! `packctl grant show COMPONENT`

use rumi_policy::{ComponentId, Grant};

use super::{counted, ls, report, values};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    json_text::Layout,
    output::Format,
    policy_files,
};

/// Show the grant of one component
///
/// With -o json this is the file itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The component, as PACK:KIND:NAME
    component: ComponentId,
}

impl Show {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let path = policy_files::grant_path(context, &self.component)?;
        let Some(bytes) = policy_files::read_existing(&path)? else {
            return Err(none(&self.component));
        };
        let grant = Grant::parse(&self.component.grant_file(), &bytes).map_err(|problem| {
            report(context.console, &problem);
            Failure::Said(Exit::Failed)
        })?;
        let layout = match context.out.format() {
            Format::Table => {
                let rows = values::rows(&self.component.to_string(), &bytes);
                context.out.list(&rows, ls::table)?;
                counted::say(context, &grant);
                return Ok(());
            }
            Format::Json => Layout::Pretty,
            Format::Jsonl => Layout::Compact,
        };
        context
            .out
            .json_text(&String::from_utf8_lossy(&bytes), layout)?;
        context.out.flush()
    }
}

/// The failure of asking for a grant that does not exist.
pub(super) fn none(component: &ComponentId) -> Failure {
    Failure::NotFound {
        message: format!("`{component}` was granted nothing"),
        hint: format!("grant something, as in `packctl grant add {component} file_read DIR`"),
    }
}
