//! `packctl build [PACK…] [--yes]`

use rumi_policy::PackId;

use super::lifecycle::{self, Verb};
use crate::{context::Context, failure::Failure};

/// Build the images of packs
///
/// An image is built again only when its content changed. A build runs the
/// pack's Dockerfile, so the pack must be approved as for `packctl up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// Packs to build; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,

    /// Approve the packs as they are, unseen; for development, and recorded
    #[arg(long)]
    yes: bool,
}

impl Build {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        lifecycle::run(context, Verb::Build, &self.packs, self.yes)
    }
}
