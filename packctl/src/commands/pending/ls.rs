//! `packctl pending ls`

use super::{
    row::{self, Row},
    watch,
};
use crate::{
    broker, context::Context, failure::Failure, json_text::Layout, moment::Moment, output::Format,
    output::Table,
};

/// List the requests that wait for an answer
///
/// Each is shown whole: what it would do, in one line that no other request has.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Print JSON, the same as `-o json` (with `--watch` as `-o jsonl`)
    #[arg(long)]
    json: bool,

    /// Go on showing new requests as they come
    #[arg(short, long)]
    watch: bool,
}

impl Ls {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.watch {
            if context.out.format() == Format::Json && !self.json {
                return Err(Failure::Usage {
                    message: "`-o json` is one document and `--watch` never ends".to_owned(),
                    hint: "use `-o jsonl`".to_owned(),
                });
            }
            return watch::run(context, self.json);
        }
        broker::converse(context, async move |mut client, context| {
            let rows = row::waiting(&mut client).await?;
            if self.json {
                context.out.json(&rows, Layout::Pretty)?;
                return context.out.flush();
            }
            if rows.is_empty() {
                context.console.say("no request waits for an answer");
            }
            context.out.list(&rows, table)
        })
    }
}

fn table(rows: &[Row]) -> Table {
    let now = Moment::now();
    let mut table = Table::new(&["id", "component", "permission", "waits", "request"]);
    for row in rows {
        table.row([
            row.id.clone(),
            row.component.clone(),
            row.permission.clone(),
            row.waits(now),
            row.request.clone(),
        ]);
    }
    table
}
