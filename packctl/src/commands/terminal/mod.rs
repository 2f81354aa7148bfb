//! `packctl terminal …`

mod ls;
mod stop;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Terminal {
    Ls(ls::Ls),
    Stop(stop::Stop),
}

impl Terminal {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Ls(ls) => ls.run(context),
            Self::Stop(stop) => stop.run(context),
        }
    }
}
