//! Commands that run: shown, and ended one by one.

use std::time::UNIX_EPOCH;

use rumi_audit::Peer;
use rumi_proto::v1;
use tonic::Status;

use super::ControlService;
use crate::command::Shown;

impl ControlService {
    pub(super) fn running_commands(&self) -> v1::TerminalsResponse {
        let shown = self.packs.broker().commands().shown();
        v1::TerminalsResponse {
            commands: shown.into_iter().map(wire).collect(),
        }
    }

    pub(super) async fn stop_command(
        &self,
        actor: Peer,
        record: &str,
    ) -> Result<v1::StopTerminalResponse, Status> {
        let commands = self.packs.broker().commands();
        let unknown = || {
            Status::not_found(format!(
                "no command runs under the record `{}`; remedy: packctl terminal ls",
                record.escape_debug()
            ))
        };
        let Some(shown) = commands.find(record) else {
            return Err(unknown());
        };
        self.admin(actor, "terminal_stop", record, Some(&shown.component))
            .await?;
        if !commands.stop(record) {
            return Err(unknown());
        }
        Ok(v1::StopTerminalResponse {
            component_id: shown.component.to_string(),
        })
    }
}

fn wire(shown: Shown) -> v1::RunningCommand {
    let since = shown.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    v1::RunningCommand {
        record: shown.record,
        component_id: shown.component.to_string(),
        argv: shown.argv,
        directory: shown.directory,
        mode: if shown.on_host { "host" } else { "sandbox" }.to_owned(),
        since_unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
    }
}
