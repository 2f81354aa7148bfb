//! `packctl logs PACK`

use rumi_policy::PackId;
use rumi_proto::v1::{LogLine, LogsRequest};
use serde::Serialize;

use crate::{broker, context::Context, failure::Failure, json_text::Layout, output::Format};

/// Show what a pack printed
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The pack
    pack: PackId,

    /// How many of the last lines to show
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 200,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    lines: u32,

    /// Go on showing new lines as they come
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    time: String,
    stream: String,
    component: String,
    line: String,
}

impl Logs {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let request = LogsRequest {
                pack: self.pack.to_string(),
                lines: self.lines,
                follow: self.follow,
            };
            let mut stream = client
                .logs(request)
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            // One document cannot be printed while it still grows.
            let collect = context.out.format() == Format::Json;
            let mut lines = Vec::new();
            while let Some(line) = stream
                .message()
                .await
                .map_err(|status| broker::refused(&status))?
            {
                let line = Line::of(line);
                if collect {
                    lines.push(line);
                } else {
                    line.print(context)?;
                }
            }
            if collect {
                context.out.json(&lines, Layout::Pretty)?;
            }
            context.out.flush()
        })
    }
}

impl Line {
    fn of(line: LogLine) -> Self {
        Self {
            time: line.time,
            stream: line.stream,
            component: line.component_id,
            line: line.line,
        }
    }

    fn print(&self, context: &mut Context) -> Result<(), Failure> {
        if context.out.format() == Format::Jsonl {
            context.out.json(self, Layout::Compact)?;
        } else {
            let from = if self.component.is_empty() {
                "-"
            } else {
                &self.component
            };
            context.out.line(&format!(
                "{} {from} {} {}",
                self.time, self.stream, self.line
            ))?;
        }
        context.out.flush()
    }
}
