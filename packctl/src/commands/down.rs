//! `packctl down [PACK…]`

use rumi_policy::PackId;

use super::lifecycle::{self, Verb};
use crate::{context::Context, failure::Failure};

/// Stop packs and remove their containers
///
/// Images and work areas stay.
#[derive(Debug, clap::Args)]
pub(crate) struct Down {
    /// Packs to stop; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,
}

impl Down {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        lifecycle::run(context, Verb::Down, &self.packs, false)
    }
}
