//! `packctl disapprove PACK…`

use rumi_policy::PackId;
use rumi_proto::v1::DisapproveRequest;
use serde::Serialize;

use crate::{
    broker,
    context::Context,
    failure::Failure,
    output::{Format, Table},
};

/// Take the approval of packs back
///
/// From then on nothing of them is built or started, not even as it was approved,
/// until they are approved anew. What runs goes on: `packctl down` stops it.
#[derive(Debug, clap::Args)]
pub(crate) struct Disapprove {
    /// Packs whose approval is taken back
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<PackId>,
}

/// One pack, and where it is recorded.
#[derive(Debug, Serialize)]
struct Row {
    pack: String,
    runs: bool,
    record: String,
}

impl Disapprove {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let mut rows = Vec::new();
            for pack in &self.packs {
                let request = broker::question(DisapproveRequest {
                    pack: pack.to_string(),
                });
                let reply = client.disapprove(request).await;
                let reply = reply
                    .map_err(|status| broker::refused(&status))?
                    .into_inner();
                let row = Row {
                    pack: pack.to_string(),
                    runs: reply.runs,
                    record: reply.record,
                };
                if matches!(context.out.format(), Format::Table) {
                    let record = &row.record;
                    let line = format!("`{pack}` is approved no more (record {record})");
                    context.out.line(&line)?;
                    if row.runs {
                        let line = format!("it still runs: packctl down {pack}");
                        context.out.line(&line)?;
                    }
                    context.out.flush()?;
                }
                rows.push(row);
            }
            match context.out.format() {
                Format::Table => Ok(()),
                Format::Json | Format::Jsonl => context.out.list(&rows, |_| Table::new(&[])),
            }
        })
    }
}
