//! `packctl handlers …`

use clap::Subcommand;
use rumi_proto::v1::{HandlerStatus, HandlersRequest};
use serde::Serialize;

use crate::{broker, context::Context, failure::Failure, output::Table};

#[derive(Debug, Subcommand)]
pub(crate) enum Handlers {
    /// List custom handlers, and why one was refused
    Ls,
}

#[derive(Debug, Serialize)]
struct Handler {
    name: String,
    state: String,
    description: String,
    message: String,
    requires_scope: bool,
    has_schema: bool,
    calls: u64,
    component: String,
}

impl Handlers {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let Self::Ls = self;
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .handlers(broker::question(HandlersRequest {}))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let handlers: Vec<Handler> = reply.handlers.into_iter().map(Handler::of).collect();
            if handlers.is_empty() {
                context
                    .console
                    .say("there are no handlers; docker/handlers/README.md shows how to write one");
            }
            context.out.list(&handlers, table)
        })
    }
}

impl Handler {
    fn of(status: HandlerStatus) -> Self {
        Self {
            name: status.name,
            state: status.state,
            description: status.description,
            message: status.message,
            requires_scope: status.requires_scope,
            has_schema: status.has_schema,
            calls: status.calls,
            component: status.component_id,
        }
    }
}

/// The handler's own words and what is wrong with it never stand together.
fn table(handlers: &[Handler]) -> Table {
    let mut table = Table::new(&["handler", "state", "scope", "schema", "calls", "about"]);
    for handler in handlers {
        let yes = |yes: bool, word: &str| if yes { word } else { "-" }.to_owned();
        table.row([
            handler.name.clone(),
            handler.state.clone(),
            yes(handler.requires_scope, "required"),
            yes(handler.has_schema, "yes"),
            handler.calls.to_string(),
            if handler.message.is_empty() {
                handler.description.clone()
            } else {
                handler.message.clone()
            },
        ]);
    }
    table
}
