//! `packctl up [PACK…]`

use rumi_policy::PackId;

use super::lifecycle::{self, Verb};
use crate::{context::Context, failure::Failure};

/// Build where needed, start packs and wait for their workers
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Packs to start; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,
}

impl Up {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        lifecycle::run(context, Verb::Up, &self.packs)
    }
}
