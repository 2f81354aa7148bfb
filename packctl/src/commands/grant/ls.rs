//! `packctl grant ls`

use std::str::FromStr;

use rumi_policy::{ComponentId, PackId, PolicySet};

use super::{
    report,
    values::{self, Row},
};
use crate::{context::Context, failure::Failure, output::Table, policy_files};

/// List what every component was granted
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only this pack or component
    #[arg(value_name = "PACK|COMPONENT")]
    only: Option<Only>,
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
        // What is broken grants nothing, and a list without it would look complete.
        for problem in set.problems() {
            report(context.console, problem);
        }
        if rows.is_empty() {
            context.console.say("nothing is granted");
        }
        context.out.list(&rows, table)
    }
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
