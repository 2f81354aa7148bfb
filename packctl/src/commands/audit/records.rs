//! Records as people and programs want to see them.

use rumi_audit::query::Record;
use serde_json::Value;

use crate::{context::Context, failure::Failure, json_text::Layout, output::Format};

/// Prints records as they come; columns have fixed widths, so that nothing has
/// to wait for the last one.
#[derive(Debug, Default)]
pub(super) struct Printer {
    printed: u64,
}

impl Printer {
    pub(super) fn print(&mut self, context: &mut Context, record: &Record) -> Result<(), Failure> {
        match context.out.format() {
            Format::Jsonl => context.out.json_text(&record.line, Layout::Compact)?,
            Format::Json => {
                // The array is laid out by hand, one record a line: it need not fit into memory.
                context
                    .out
                    .write(if self.printed == 0 { "[\n" } else { ",\n" })?;
                let text = crate::json_text::relayout(&record.line, Layout::Compact)
                    .map_err(|error| Failure::Output(error.into()))?;
                context.out.write(&text)?;
            }
            Format::Table => {
                if self.printed == 0 {
                    context.out.line(&columns([
                        "TIME",
                        "ID",
                        "WHAT",
                        "REASON",
                        "COMPONENT",
                        "PERMISSION",
                        "TARGET",
                    ]))?;
                }
                context.out.line(&row(&record.fields))?;
            }
        }
        self.printed += 1;
        Ok(())
    }

    /// Closes what was opened and tells how many there were.
    pub(super) fn finish(self, context: &mut Context) -> Result<u64, Failure> {
        if context.out.format() == Format::Json {
            context
                .out
                .write(if self.printed == 0 { "[]\n" } else { "\n]\n" })?;
        }
        context.out.flush()?;
        Ok(self.printed)
    }
}

/// A field that is a string, or nothing.
pub(super) fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The target of a record; what is no UTF-8 stays in its base64 form.
pub(super) fn target(fields: &Value) -> String {
    match fields.get("target") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn row(fields: &Value) -> String {
    let what = match text(fields, "decision") {
        "" => text(fields, "phase"),
        decision => decision,
    };
    let action = match (text(fields, "permission"), text(fields, "action")) {
        ("", action) => action.to_owned(),
        (permission, "") => permission.to_owned(),
        (permission, action) => format!("{permission}:{action}"),
    };
    let who = match text(fields, "component") {
        "" => text(fields, "pack"),
        component => component,
    };
    columns([
        text(fields, "time"),
        text(fields, "id"),
        what,
        text(fields, "reason"),
        who,
        &action,
        &target(fields),
    ])
}

fn columns(cells: [&str; 7]) -> String {
    let cells = cells.map(|cell| {
        let cell = if cell.is_empty() { "-" } else { cell };
        // Escaping before padding, or a column would lose its width.
        crate::escape::line(cell).into_owned()
    });
    let [time, id, what, reason, component, permission, target] = cells;
    format!("{time:27}  {id:16}  {what:9}  {reason:18}  {component:26}  {permission:18}  {target}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_the_facts_and_no_escape_sequence() {
        let fields = serde_json::json!({
            "time": "2030-01-01T00:00:00.000001Z", "id": "0123456789abcdef", "decision": "deny",
            "phase": "decision", "reason": "outside_directory", "component": "p:tool:t",
            "permission": "file_read", "action": "read", "target": "/x\u{1b}[2J\n/y",
        });
        let row = row(&fields);
        for part in [
            "0123456789abcdef",
            "deny",
            "outside_directory",
            "file_read:read",
            "/x\\u{1b}[2J\\n/y",
        ] {
            assert!(row.contains(part), "{row}");
        }
        assert!(!row.chars().any(char::is_control));
    }

    #[test]
    fn a_target_that_is_no_text_is_shown_as_it_was_recorded() {
        let fields = serde_json::json!({"target": {"base64": "//8="}});
        assert_eq!(target(&fields), r#"{"base64":"//8="}"#);
    }
}
