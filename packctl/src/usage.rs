//! Says what is wrong with a command line, in the voice of all other messages.

use std::io;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::{console::Console, failure::Exit};

/// Prints help where it was asked for, and otherwise the mistake and its remedy.
pub(crate) fn report(error: &Error, console: Console) -> Exit {
    let exit = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Some(Exit::Ok),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Some(Exit::Usage),
        _ => None,
    };
    if let Some(exit) = exit {
        return match error.print() {
            // A reader that has had enough (`--help | head`) is no failure.
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => exit,
        };
    }
    let said = Said::of(error);
    console.error(&said.message);
    if let Some(usage) = said.usage {
        console.say(&usage);
    }
    console.hint(&said.hint);
    Exit::Usage
}

struct Said {
    message: String,
    usage: Option<String>,
    hint: String,
}

impl Said {
    fn of(error: &Error) -> Self {
        let text = |kind| texts(error, kind).join(", ");
        let argument = text(ContextKind::InvalidArg);
        let value = text(ContextKind::InvalidValue);
        let message = match error.kind() {
            ErrorKind::InvalidValue if value.is_empty() => {
                format!("`{argument}` needs a value")
            }
            ErrorKind::InvalidValue => format!("`{value}` is not a value of `{argument}`"),
            ErrorKind::ValueValidation => validation(error, &argument, &value),
            ErrorKind::UnknownArgument => format!("unexpected argument `{argument}`"),
            ErrorKind::InvalidSubcommand => {
                format!("no such command `{}`", text(ContextKind::InvalidSubcommand))
            }
            ErrorKind::MissingRequiredArgument => {
                let missing: Vec<_> = texts(error, ContextKind::InvalidArg)
                    .iter()
                    .map(|name| format!("`{name}`"))
                    .collect();
                format!("missing {}", missing.join(" and "))
            }
            ErrorKind::ArgumentConflict => {
                let prior = text(ContextKind::PriorArg);
                if prior.is_empty() || prior == argument {
                    format!("`{argument}` was given more than once")
                } else {
                    format!("`{argument}` cannot be used together with `{prior}`")
                }
            }
            ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
                format!("`{argument}` needs more values")
            }
            ErrorKind::TooManyValues => format!("`{value}` is one value too many for `{argument}`"),
            ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
            _ => first_line(error),
        };
        Self {
            message,
            usage: error.get(ContextKind::Usage).map(|usage| {
                let usage = usage.to_string();
                let usage = usage.trim().trim_start_matches("Usage:").trim_start();
                format!("usage: {}", usage.lines().next().unwrap_or_default())
            }),
            hint: hint(error),
        }
    }
}

fn validation(error: &Error, argument: &str, value: &str) -> String {
    let why = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    if why.contains('`') {
        // The parser's own words name the input already.
        return why;
    }
    format!("`{value}` is not a value of `{argument}`: {why}")
}

fn hint(error: &Error) -> String {
    let quoted = |kind| {
        let found: Vec<_> = texts(error, kind)
            .iter()
            .map(|text| format!("`{text}`"))
            .collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    // Values are few: all of them say more than the nearest one.
    if let Some(values) = quoted(ContextKind::ValidValue) {
        return format!("write one of {values}");
    }
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        if let Some(suggestions) = quoted(kind) {
            return format!("did you mean {suggestions}?");
        }
    }
    "`--help` explains the command and its options".to_owned()
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
