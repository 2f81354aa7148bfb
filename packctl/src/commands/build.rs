//! `packctl build [PACK…]`

use rumi_policy::PackId;

use super::lifecycle::{self, Verb};
use crate::{context::Context, failure::Failure};

/// Build the images of packs
///
/// An image is built again only when its content changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// Packs to build; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,
}

impl Build {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        lifecycle::run(context, Verb::Build, &self.packs)
    }
}
