//! `packctl quota`

use rumi_policy::ComponentId;
use rumi_proto::v1::{QuotaStatus, QuotasRequest};
use serde::Serialize;

use super::stats::bytes;
use crate::{broker, context::Context, failure::Failure, output::Table};

/// Show what components have written, and how much they may
///
/// Counted are the files and directories that a component made through the broker and that are
/// still there, and what it added to others. `quota_bytes` and `quota_files` of a file_write
/// grant say how much that may be.
#[derive(Debug, clap::Args)]
pub(crate) struct Quota {
    /// Components to show; all that may write when none is named
    #[arg(value_name = "COMPONENT")]
    components: Vec<ComponentId>,
}

#[derive(Debug, Serialize)]
struct Row {
    component: String,
    /// False where the broker cannot read the account.
    readable: bool,
    bytes: u64,
    quota_bytes: u64,
    files: u64,
    quota_files: u64,
}

impl Quota {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .quotas(broker::question(QuotasRequest {}))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let wanted = |row: &Row| {
                let named = |component: &ComponentId| component.as_str() == row.component;
                self.components.is_empty() || self.components.iter().any(named)
            };
            let rows = reply.components.into_iter().map(Row::of).filter(wanted);
            let rows: Vec<Row> = rows.collect();
            if let Some(component) = self.components.iter().find(|component| {
                let shown = |row: &Row| row.component == component.as_str();
                !rows.iter().any(shown)
            }) {
                return Err(Failure::NotFound {
                    message: format!("`{component}` may write nothing, and has written nothing"),
                    hint: format!("packctl grant add {component} file_write DIR"),
                });
            }
            if rows.is_empty() {
                context.console.say("no component may write anything");
            }
            for row in rows.iter().filter(|row| !row.readable) {
                context.console.warning(&format!(
                    "what `{}` has written cannot be counted, so it may write no more; the broker's log says why",
                    row.component
                ));
            }
            context.out.list(&rows, table)
        })
    }
}

impl Row {
    fn of(status: QuotaStatus) -> Self {
        Self {
            component: status.component_id,
            readable: status.readable,
            bytes: status.bytes,
            quota_bytes: status.quota_bytes,
            files: status.files,
            quota_files: status.quota_files,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["component", "written", "quota", "files", "quota"]);
    for row in rows {
        let known = |text: String| if row.readable { text } else { "?".to_owned() };
        table.row([
            row.component.clone(),
            known(bytes(row.bytes)),
            bytes(row.quota_bytes),
            known(row.files.to_string()),
            row.quota_files.to_string(),
        ]);
    }
    table
}
