//! `packctl secret ls`

use rumi_proto::v1::{SecretEntry, SecretListRequest};
use serde::Serialize;

use crate::{broker, context::Context, failure::Failure, moment::Moment, output::Table};

/// List the names of all secrets, and the components whose grants name them
///
/// Values are never shown. A secret that no grant names is used by nobody.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: u64,
    changed_unix_ms: u64,
    used_by: Vec<String>,
    #[serde(skip)]
    ago: String,
}

impl Ls {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async |mut client, context| {
            let reply = client
                .secret_list(broker::question(SecretListRequest {}))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let now = Moment::now();
            let rows: Vec<Row> = reply
                .secrets
                .into_iter()
                .map(|entry| Row::of(entry, now))
                .collect();
            if rows.is_empty() {
                context
                    .console
                    .say("there are no secrets; packctl secret set NAME keeps one");
            }
            context.out.list(&rows, table)
        })
    }
}

impl Row {
    fn of(entry: SecretEntry, now: Moment) -> Self {
        let changed = Moment::from_unix_ms(entry.changed_unix_ms);
        Self {
            name: entry.name,
            version: entry.version,
            changed_unix_ms: entry.changed_unix_ms,
            ago: changed.ago(now),
            used_by: entry.used_by,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["name", "version", "changed", "used by"]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.version.to_string(),
            format!("{} ago", row.ago),
            row.used_by.join(", "),
        ]);
    }
    table
}
