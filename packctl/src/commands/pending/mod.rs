//! `packctl pending …`

mod answer;
mod ls;
mod row;
mod watch;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

/// See and answer the requests that wait for you
///
/// A permission whose grant says `"ask": true` waits here before each use. What is
/// shown is the whole request; it is refused when nobody answers in time.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  packctl pending
  packctl pending --watch
  packctl pending allow 7k3m9q2x
  packctl pending allow 7k3m9q2x --always
  packctl pending deny 7k3m9q2x"
)]
pub(crate) struct Pending {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    ls: ls::Ls,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(ls::Ls),
    Allow(answer::Allow),
    Deny(answer::Deny),
}

impl Pending {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self.verb {
            None => self.ls.run(context),
            Some(Verb::Ls(ls)) => ls.run(context),
            Some(Verb::Allow(allow)) => allow.run(context),
            Some(Verb::Deny(deny)) => deny.run(context),
        }
    }
}
