//! `packctl audit tail`

use std::{thread, time::Duration};

use rumi_audit::query::{self, Follow};

use super::{Source, filters::Filters, records::Printer, unreadable};
use crate::{context::Context, failure::Failure};

/// Often enough to feel immediate, seldom enough to cost nothing.
const POLL: Duration = Duration::from_millis(200);

/// Show the last records, and new ones as they come
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// How many of the last records to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,

    /// Go on showing new records as they come
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    filters: Filters,
}

impl Tail {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.follow && context.out.format() == crate::output::Format::Json {
            return Err(Failure::Usage {
                message: "`-o json` is one document and `--follow` never ends".to_owned(),
                hint: "use `-o jsonl`".to_owned(),
            });
        }
        let directory = self.source.directory(context)?;
        let filter = self.filters.filter();
        // Taken first, so that no record falls between the two.
        let mut follow = if self.follow {
            Some(Follow::from_end(&directory, &filter).map_err(unreadable)?)
        } else {
            None
        };
        let mut printer = Printer::default();
        let mut last = String::new();
        for record in query::tail(&directory, &filter, self.lines).map_err(unreadable)? {
            printer.print(context, &record)?;
            last = record.line;
        }
        let Some(follow) = &mut follow else {
            printer.finish(context)?;
            return Ok(());
        };
        context.out.flush()?;
        loop {
            let mut fresh = follow.poll().map_err(unreadable)?;
            // A record written in between is in both answers; lines are unique.
            if let Some(seen) = fresh.iter().position(|record| record.line == last) {
                fresh.drain(..=seen);
            }
            for record in &fresh {
                printer.print(context, record)?;
            }
            context.out.flush()?;
            thread::sleep(POLL);
        }
    }
}
