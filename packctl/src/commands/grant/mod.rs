//! `packctl grant …`

mod add;
pub(in crate::commands) mod change;
mod check;
mod commands;
mod conditions;
mod counted;
mod deciding;
mod directories;
mod handlers;
mod history;
mod in_force;
mod lines;
mod lint;
mod ls;
mod network;
mod replay;
mod reset;
mod rm;
mod shadowed;
mod show;
mod suggest;
mod uses;
mod values;
mod why;
mod wide;

use clap::{
    Arg, Command, Subcommand,
    builder::{PossibleValue, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use rumi_policy::{Permission, PermissionName, Problem, UnixMillis};

use crate::{console::Console, context::Context, failure::Failure, moment::Moment};

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    Ls(ls::Ls),
    Show(show::Show),
    Check(check::Check),
    Add(add::Add),
    Rm(rm::Rm),
    Lint(lint::Lint),
    Suggest(suggest::Suggest),
    Replay(replay::Replay),
    Why(why::Why),
    Reset(reset::Reset),
}

impl Grant {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Ls(ls) => ls.run(context),
            Self::Show(show) => show.run(context),
            Self::Check(check) => check.run(context),
            Self::Add(add) => add.run(context),
            Self::Rm(rm) => rm.run(context),
            Self::Lint(lint) => lint.run(context),
            Self::Suggest(suggest) => suggest.run(context),
            Self::Replay(replay) => replay.run(context),
            Self::Why(why) => why.run(context),
            Self::Reset(reset) => reset.run(context),
        }
    }
}

/// Reads a permission or the name of a handler, and offers the five to completions.
#[derive(Debug, Clone, Copy)]
struct PermissionParser;

impl TypedValueParser for PermissionParser {
    type Value = PermissionName;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<PermissionName, clap::Error> {
        let text = value.to_string_lossy();
        text.parse().map_err(|_| {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            let shown = argument.map(ToString::to_string).unwrap_or_default();
            error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
            let given = text.escape_debug().to_string();
            error.insert(ContextKind::InvalidValue, ContextValue::String(given));
            let known = Permission::ALL.map(|one| one.to_string()).to_vec();
            error.insert(ContextKind::ValidValue, ContextValue::Strings(known));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let known = Permission::ALL.iter();
        Some(Box::new(known.map(|one| PossibleValue::new(one.as_str()))))
    }
}

/// The time at which questions are put.
fn now() -> UnixMillis {
    UnixMillis(u64::try_from(Moment::now().unix_ms()).unwrap_or(0))
}

fn permission() -> PermissionParser {
    PermissionParser
}

/// Names file, line and field of a mistake, and what to do about it.
fn report(console: Console, problem: &Problem) {
    console.error(&place_and_message(problem));
    console.hint(&problem.remedy);
}

fn place_and_message(problem: &Problem) -> String {
    let mut text = format!("`{}`", problem.file);
    if let Some(line) = problem.line {
        text.push_str(&format!(", line {line}"));
    }
    if let Some(field) = &problem.field {
        text.push_str(&format!(", field `{field}`"));
    }
    text.push_str(": ");
    text.push_str(&problem.message);
    text
}
