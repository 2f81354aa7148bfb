//! `packctl grant …`

mod add;
mod change;
mod check;
mod commands;
mod directories;
mod in_force;
mod lint;
mod ls;
mod rm;
mod show;
mod values;

use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use rumi_policy::{Permission, Problem};

use crate::{console::Console, context::Context, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    Ls(ls::Ls),
    Show(show::Show),
    Check(check::Check),
    Add(add::Add),
    Rm(rm::Rm),
    Lint(lint::Lint),
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
        }
    }
}

/// Reads a permission and offers its names to completions.
fn permission() -> impl TypedValueParser<Value = Permission> {
    PossibleValuesParser::new(Permission::ALL.iter().map(|one| one.as_str()))
        .try_map(|name| name.parse::<Permission>())
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
