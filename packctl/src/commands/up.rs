//! `packctl up [PACK…] [--yes]`

use rumi_policy::PackId;

use super::lifecycle::{self, Verb};
use crate::{context::Context, failure::Failure};

/// Build where needed, start packs and wait for their workers
///
/// A pack that is not what was approved is not started: what it is and what
/// changed is shown instead, with the command that approves it (exit code 3).
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Packs to start; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,

    /// Approve the packs as they are, unseen; for development, and recorded
    #[arg(long)]
    yes: bool,
}

impl Up {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        lifecycle::run(context, Verb::Up, &self.packs, self.yes)
    }
}
