//! `packctl audit show ID`

use rumi_audit::{
    RecordId,
    query::{self, Filter, Record},
};
use rumi_policy::ComponentId;
use serde_json::Value;

use super::{Source, records, unreadable};
use crate::{
    asking::Config,
    context::Context,
    failure::Failure,
    json_text::{self, Layout},
    output::Format,
    policy_files, recorded,
};

/// Show everything recorded about one request
///
/// That is the decision and the outcome; for a denial also the command that
/// would allow it.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The id, as replies and `audit query` show it
    id: RecordId,

    #[command(flatten)]
    source: Source,
}

impl Show {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let filter = Filter {
            id: Some(self.id.to_string()),
            ..Filter::default()
        };
        let found: Vec<Record> = query::scan(&directory, &filter)
            .and_then(Iterator::collect)
            .map_err(unreadable)?;
        if found.is_empty() {
            return Err(Failure::NotFound {
                message: format!("there is no record `{}`", self.id),
                hint: "`packctl audit tail` shows the last ones".to_owned(),
            });
        }
        print(context, &found)?;
        if let Some(denial) = found
            .iter()
            .find(|record| records::text(&record.fields, "decision") == "deny")
        {
            explain(context, &denial.fields);
        }
        Ok(())
    }
}

fn print(context: &mut Context, found: &[Record]) -> Result<(), Failure> {
    match context.out.format() {
        Format::Json => {
            let lines: Vec<&str> = found.iter().map(|record| record.line.as_str()).collect();
            context
                .out
                .json_text(&format!("[{}]", lines.join(",")), Layout::Pretty)?;
        }
        Format::Jsonl => {
            for record in found {
                context.out.json_text(&record.line, Layout::Compact)?;
            }
        }
        Format::Table => {
            for (index, record) in found.iter().enumerate() {
                if index > 0 {
                    context.out.line("")?;
                }
                for line in facts(record) {
                    context.out.line(&line)?;
                }
            }
        }
    }
    context.out.flush()
}

/// The fields of a record in the order of the log's format.
fn facts(record: &Record) -> Vec<String> {
    const ORDER: [&str; 22] = [
        "phase",
        "id",
        "seq",
        "time",
        "boot_id",
        "mono_ns",
        "pack",
        "component",
        "container",
        "peer",
        "invocation",
        "permission",
        "action",
        "target",
        "decision",
        "reason",
        "grant",
        "policy",
        "detail",
        "prev",
        "v",
        "key",
    ];
    let Some(fields) = record.fields.as_object() else {
        return Vec::new();
    };
    let known = ORDER.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields
        .iter()
        .filter(|(name, _)| !ORDER.contains(&name.as_str()));
    known
        .chain(others)
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => {
                    let text = other.to_string();
                    json_text::relayout(&text, Layout::Compact).unwrap_or(text)
                }
            };
            format!("{name:11} {text}")
        })
        .collect()
}

/// Says which command would allow what was denied.
fn explain(context: &Context, fields: &Value) {
    // The remedy of the time of the denial is better than one made up now.
    if let Some(remedy) = fields.pointer("/detail/remedy").and_then(Value::as_str) {
        context.console.hint(remedy);
        return;
    }
    let Some(question) = recorded::question(fields, None) else {
        return;
    };
    let component: Result<ComponentId, _> = records::text(fields, "component").parse();
    let (Ok(component), Ok(set)) = (component, policy_files::load(context)) else {
        context
            .console
            .say("the command that would allow this depends on the grants; name their directory with --home DIR");
        return;
    };
    let answer = question.put(&set, &component, &Config::read(context));
    if answer.allowed() {
        context
            .console
            .say("the grants have changed since: this would be allowed now");
    } else if let Some(remedy) = answer.remedy() {
        context.console.hint(remedy);
    }
}
