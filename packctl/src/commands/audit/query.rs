//! `packctl audit query`

use rumi_audit::query;

use super::{Source, filters::Filters, records::Printer, unreadable};
use crate::{context::Context, failure::Failure};

/// Search the records
///
/// All filters must hold. With -o jsonl each record is printed as it stands in
/// the log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packctl audit query --decision deny --since 1h
  packctl audit query --component default:tool:my_tool --permission file_read
  packctl audit query --text /etc/passwd -o jsonl")]
pub(crate) struct Query {
    /// Only the last N that match
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    filters: Filters,
}

impl Query {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let filter = self.filters.filter();
        let mut printer = Printer::default();
        if let Some(limit) = self.limit {
            for record in query::tail(&directory, &filter, limit).map_err(unreadable)? {
                printer.print(context, &record)?;
            }
        } else {
            for record in query::scan(&directory, &filter).map_err(unreadable)? {
                printer.print(context, &record.map_err(unreadable)?)?;
            }
        }
        if printer.finish(context)? == 0 {
            context.console.say("no record matches");
        }
        Ok(())
    }
}
