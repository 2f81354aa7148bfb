//! What a person reads: messages, warnings and hints on stderr.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use crate::escape;

/// Standard error, with colours where a terminal wants them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    terminal: bool,
    colours: bool,
}

impl Console {
    /// Looks at the terminal, `NO_COLOR` and `TERM`.
    pub(crate) fn detect() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            colours: terminal && colours_wanted(),
        }
    }

    /// Whether a person sees this as it happens.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(crate) fn error(self, text: &str) {
        self.labelled("error", "31", text);
    }

    pub(crate) fn warning(self, text: &str) {
        self.labelled("warning", "33", text);
    }

    pub(crate) fn hint(self, text: &str) {
        self.labelled("hint", "36", text);
    }

    /// A line whose label is not one of the usual three.
    pub(crate) fn labelled(self, label: &str, colour: &str, text: &str) {
        let text = escape::line(text);
        if self.colours {
            self.put(&format!("\x1b[1;{colour}m{label}:\x1b[0m {text}"));
        } else {
            self.put(&format!("{label}: {text}"));
        }
    }

    /// A plain line.
    pub(crate) fn say(self, text: &str) {
        self.put(&escape::output_line(text));
    }

    fn put(self, line: &str) {
        // There is nobody left to tell when stderr itself is gone, and the exit code still speaks.
        writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
    }
}

/// Whether the environment asks for no colours (see <https://no-color.org>).
pub(crate) fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
