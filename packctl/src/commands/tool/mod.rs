//! `packctl tool …`: tools made of one file each, without a pack made by hand.
//!
//! Such a tool is a pack like any other, `docker/packs/tool-NAME`, with one component. It has a
//! container of its own, so that what is added, changed or removed ends no call of another tool.

mod add;
mod check;
mod ls;
mod manifest;
mod name;
mod place;
mod rm;
mod show;
mod start;
mod state;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    Add(Box<add::Add>),
    Ls(ls::Ls),
    Show(show::Show),
    Rm(rm::Rm),
    Check(check::Check),
}

impl Tool {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(context),
            Self::Ls(ls) => ls.run(context),
            Self::Show(show) => show.run(context),
            Self::Rm(rm) => rm.run(context),
            Self::Check(check) => check.run(context),
        }
    }
}
