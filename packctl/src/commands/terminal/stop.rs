//! `packctl terminal stop ID`

use rumi_proto::v1::StopTerminalRequest;

use crate::{broker, context::Context, failure::Failure};

/// End a command that runs, with all that it started
///
/// It ends at once, whatever it does; the component is told that it was stopped,
/// and the audit log who stopped it.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// The command, as `packctl terminal ls` names it
    #[arg(value_name = "ID")]
    record: String,
}

impl Stop {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let record = self.record;
        broker::converse(context, async move |mut client, context| {
            let request = StopTerminalRequest {
                record: record.clone(),
            };
            let stopped = client
                .stop_terminal(broker::question(request))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let text = format!("stopped `{record}` of `{}`", stopped.component_id);
            context.console.say(&text);
            Ok(())
        })
    }
}
