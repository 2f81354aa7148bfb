//! `packctl tool ls`

use serde::Serialize;

use super::{place, state::States};
use crate::{context::Context, failure::Failure, output::Table};

/// List the tools that were added
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    component: String,
    runner: String,
    state: String,
    calls: Option<u64>,
    description: String,
}

impl Ls {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let tools = place::all(context)?;
        if tools.is_empty() {
            context
                .console
                .say("no tool was added; packctl tool add NAME FILE adds one");
            return context.out.list::<Row>(&[], table);
        }
        let states = States::ask(context)?;
        let rows = tools.into_iter().map(|added| Row {
            component: added.name.component().to_string(),
            runner: added.tool.runner.as_str().to_owned(),
            state: states.of(&added.name),
            calls: states.calls(&added.name),
            description: added.tool.description,
            name: added.name.to_string(),
        });
        let rows: Vec<Row> = rows.collect();
        context.out.list(&rows, table)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "name",
        "component",
        "runner",
        "state",
        "calls",
        "description",
    ]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.component.clone(),
            row.runner.clone(),
            row.state.clone(),
            row.calls.map(|calls| calls.to_string()).unwrap_or_default(),
            row.description.clone(),
        ]);
    }
    table
}
