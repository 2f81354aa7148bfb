//! `packctl terminal ls`

use rumi_proto::v1::{RunningCommand, TerminalsRequest};
use serde::Serialize;

use crate::{broker, context::Context, failure::Failure, moment::Moment, output::Table};

/// List the commands that components run now
///
/// Each has the id of the audit record that allowed it: `packctl audit show ID`
/// says why, and `packctl terminal stop ID` ends it.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

#[derive(Debug, Serialize)]
struct Row {
    record: String,
    component: String,
    mode: String,
    directory: String,
    argv: Vec<String>,
    since_unix_ms: i64,
    #[serde(skip)]
    runs_for: String,
}

impl Ls {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .terminals(broker::question(TerminalsRequest {}))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let now = Moment::now();
            let rows: Vec<Row> = reply
                .commands
                .into_iter()
                .map(|command| Row::of(command, now))
                .collect();
            if rows.is_empty() {
                context.console.say("no command is running");
            }
            context.out.list(&rows, table)
        })
    }
}

impl Row {
    fn of(command: RunningCommand, now: Moment) -> Self {
        Self {
            runs_for: Moment::from_unix_ms(u64::try_from(command.since_unix_ms).unwrap_or(0))
                .ago(now),
            record: command.record,
            component: command.component_id,
            mode: command.mode,
            directory: command.directory,
            argv: command.argv,
            since_unix_ms: command.since_unix_ms,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["id", "component", "runs", "mode", "directory", "command"]);
    for row in rows {
        table.row([
            row.record.clone(),
            row.component.clone(),
            row.runs_for.clone(),
            row.mode.clone(),
            row.directory.clone(),
            line(&row.argv),
        ]);
    }
    table
}

/// The words of a command, so that it is seen where each begins and ends.
fn line(argv: &[String]) -> String {
    let word = |word: &String| {
        if word.is_empty() || word.contains([' ', '\'', '"']) {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.clone()
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}
