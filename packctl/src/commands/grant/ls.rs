//! `packctl grant ls`

use std::str::FromStr;

use rumi_policy::{ComponentId, PackId, PolicySet};

use super::{
    history, report,
    uses::Uses,
    values::{self, Row},
};
use crate::{
    commands::audit::Source, context::Context, failure::Failure, moment::Moment, output::Table,
    policy_files,
};

/// List what every component was granted, and how often it was used
///
/// Uses are counted in the log: a use is a request that was allowed.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only this pack or component
    #[arg(value_name = "PACK|COMPONENT")]
    only: Option<Only>,

    /// Count uses since then: `1h`, `2d` ago, or a date and time in UTC [default: all]
    #[arg(long, value_name = "TIME", value_parser = Moment::read)]
    since: Option<Moment>,

    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone)]
enum Only {
    Pack(PackId),
    Component(ComponentId),
}

impl FromStr for Only {
    type Err = rumi_policy::SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(':') {
            text.parse().map(Self::Component)
        } else {
            text.parse().map(Self::Pack)
        }
    }
}

impl Only {
    fn covers(&self, component: &ComponentId) -> bool {
        match self {
            Self::Pack(pack) => component.pack() == *pack,
            Self::Component(wanted) => component == wanted,
        }
    }
}

impl Ls {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let source = policy_files::source(context)?;
        let grants = source.grants.clone();
        let set = PolicySet::compile(source);
        let mut rows: Vec<Row> = Vec::new();
        for file in &grants {
            let Some(component) = set
                .components()
                .find(|component| component.grant_file() == file.name)
            else {
                continue;
            };
            if self.only.as_ref().is_none_or(|only| only.covers(component)) {
                rows.extend(values::rows(&component.to_string(), &file.bytes));
            }
        }
        if !rows.is_empty() {
            self.count(context, &mut rows)?;
        }
        // What is broken grants nothing, and a list without it would look complete.
        for problem in set.problems() {
            report(context.console, problem);
        }
        if rows.is_empty() {
            context.console.say("nothing is granted");
        }
        context.out.list(&rows, with_uses)
    }

    /// Without a log the list is still a list.
    fn count(&self, context: &Context, rows: &mut [Row]) -> Result<(), Failure> {
        let uses = match Uses::read(&self.source, context, history::filter(self.since, None)) {
            Ok(uses) => uses,
            Err(Failure::NotFound { .. }) if !self.source.is_named() => return Ok(()),
            Err(failure @ Failure::Files { .. }) => {
                context
                    .console
                    .warning(&format!("uses are not counted: {failure}"));
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        for row in rows {
            let used = uses.of(&row.component, &row.permission);
            row.uses = Some(used.count);
            row.last_use = Some(used.last).filter(|last| !last.is_empty());
        }
        Ok(())
    }
}

/// One row a permission, with what the log says of it.
fn with_uses(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "component",
        "permission",
        "enabled",
        "uses",
        "last use",
        "terms",
    ]);
    for row in rows {
        table.row([
            row.component.clone(),
            row.permission.clone(),
            if row.enabled { "yes" } else { "no" }.to_owned(),
            row.uses.map(|uses| uses.to_string()).unwrap_or_default(),
            row.last_use.clone().unwrap_or_default(),
            row.summary(),
        ]);
    }
    table
}

/// One row a permission.
pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["component", "permission", "enabled", "terms"]);
    for row in rows {
        table.row([
            row.component.clone(),
            row.permission.clone(),
            if row.enabled { "yes" } else { "no" }.to_owned(),
            row.summary(),
        ]);
    }
    table
}
