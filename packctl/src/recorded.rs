//! The request behind a record, so that it can be asked again.

use rumi_policy::{CustomAsk, EnvReadAsk, FileWriteAction, FileWriteAsk, HandlerName};
use serde_json::Value;

use crate::asking::{FileAction, Question};

/// Reads the request out of the record of its decision. `first` is the detail of the first record
/// of the same id, where this is the second. Nothing where the record does not hold it: a target
/// that was cut or is no text, or bytes that were no request.
pub(crate) fn question(fields: &Value, first: Option<&Value>) -> Option<Question> {
    use clap::ValueEnum as _;

    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let detail = |name: &str| {
        let own = fields.get("detail").and_then(|detail| detail.get(name));
        own.or_else(|| first?.get(name))
    };
    let target = fields.get("target")?.as_str()?;
    let action = text("action");
    let file_action = FileAction::from_str(action, false).ok();
    match text("permission") {
        // Looks below /files are summed under what they were granted by.
        "file_read" if action == "look" => Question::file_read(target, Some(FileAction::Stat)).ok(),
        "file_read" => Question::file_read(target, Some(file_action?)).ok(),
        "file_write" => file_write(target, action, detail("to").and_then(Value::as_str)),
        "env_read" if action == "list" => Some(Question::EnvRead(EnvReadAsk::All)),
        "env_read" => Question::env_read(target).ok(),
        "terminal" => {
            let program = detail("program")?.as_str()?;
            Question::terminal(target, vec![program.to_owned()]).ok()
        }
        "network" if target.is_empty() => None,
        "network" => Some(match action {
            "tunnel" => Question::tunnel(target),
            "resolve" => Question::resolve(target),
            _ => {
                let (method, url) = target.split_once(' ').unwrap_or(("GET", target));
                Question::network(method, url)
            }
        }),
        handler => custom(&handler.parse().ok()?, target),
    }
}

fn file_write(target: &str, action: &str, to: Option<&str>) -> Option<Question> {
    let action = match action {
        "look" => FileWriteAction::Look,
        "write" => FileWriteAction::Write,
        "append" => FileWriteAction::Append,
        "create" => FileWriteAction::Create,
        "mkdir" => FileWriteAction::Mkdir { parents: false },
        "delete" => FileWriteAction::Delete,
        "rename" => FileWriteAction::Rename {
            to: to?.parse().ok()?,
        },
        _ => return None,
    };
    Some(Question::FileWrite(FileWriteAsk {
        action,
        path: target.parse().ok()?,
        bytes: 0,
    }))
}

/// The target of a call is the size of its arguments and their fingerprint.
fn custom(handler: &HandlerName, target: &str) -> Option<Question> {
    let (bytes, _) = target.split_once(' ')?;
    Some(Question::Custom(CustomAsk {
        handler: handler.clone(),
        args: "".into(),
        bytes: bytes.parse().ok()?,
        fingerprint: String::new(),
        depth: 0,
    }))
}
