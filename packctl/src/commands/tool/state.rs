//! How added tools are, as far as a broker says it.

use std::collections::HashMap;

use rumi_proto::v1::{ComponentStatus, PackStatus, PsRequest};

use super::name::ToolName;
use crate::{broker, context::Context, failure::Failure};

/// How packs are, by name; empty where no broker answers.
#[derive(Debug, Default)]
pub(super) struct States(HashMap<String, PackStatus>);

impl States {
    /// Asks the broker. Tools are files, and are listed where it does not run as well.
    pub(super) fn ask(context: &mut Context) -> Result<Self, Failure> {
        let asked = broker::converse(context, async |mut client, _| {
            let question = broker::question(PsRequest { packs: Vec::new() });
            let reply = client.ps(question).await;
            let packs = reply
                .map_err(|status| broker::refused(&status))?
                .into_inner()
                .packs;
            let by_name = |pack: PackStatus| (pack.pack.clone(), pack);
            Ok(Self(packs.into_iter().map(by_name).collect()))
        });
        match asked {
            Err(Failure::Unreachable { .. }) => {
                context
                    .console
                    .warning("no broker answers, so nothing is known of what runs");
                Ok(Self::default())
            }
            asked => asked,
        }
    }

    /// Where the tool is in its life; empty where that is not known.
    pub(super) fn of(&self, name: &ToolName) -> String {
        self.0
            .get(name.pack().as_str())
            .map(|pack| pack.state.clone())
            .unwrap_or_default()
    }

    /// Calls it has answered since the broker started.
    pub(super) fn calls(&self, name: &ToolName) -> Option<u64> {
        let pack = self.0.get(name.pack().as_str())?;
        let of = |one: &&ComponentStatus| one.component_id == name.component().as_str();
        pack.components.iter().find(of).map(|one| one.calls)
    }
}
