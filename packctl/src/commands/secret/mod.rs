//! `packctl secret …`

mod input;
mod ls;
mod name;
mod rm;
mod set;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    Set(set::Set),
    Ls(ls::Ls),
    Rm(rm::Rm),
}

impl Secret {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run(context),
            Self::Ls(ls) => ls.run(context),
            Self::Rm(rm) => rm.run(context),
        }
    }
}
