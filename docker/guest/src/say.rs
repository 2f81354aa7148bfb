//! What the guest itself has to say, on stderr.

use std::{
    error::Error,
    fmt::{Display, Write as _},
    io::Write as _,
};

/// Writes one line. Nobody may be reading, and a supervisor must not end over that.
pub(crate) fn line(text: &dyn Display) {
    let text = format!("rumi-guest: {text}\n");
    if std::io::stderr().write_all(text.as_bytes()).is_err() {
        // There is no second place to say so.
    }
}

/// One line that a component caused. Its uid stands before it, whatever the line says.
pub(crate) fn line_of(uid: u32, text: &str) {
    let text = text.replace(['\n', '\r'], " ");
    line(&format_args!("[{uid}] {text}"));
}

/// Writes one line in the name of a command.
pub(crate) fn under(name: &str, text: &dyn Display) {
    let text = format!("rumi: {}: {text}\n", name.escape_debug());
    if std::io::stderr().write_all(text.as_bytes()).is_err() {
        // There is no second place to say so.
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if write!(text, ": {cause}").is_err() {
            break;
        }
        source = cause.source();
    }
    text
}
