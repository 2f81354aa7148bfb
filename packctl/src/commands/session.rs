//! `packctl session …`

use rumi_proto::v1::{SessionListRequest, SessionRequest, SessionStatus};
use serde::Serialize;

use super::exec::Exec;
use crate::{broker, context::Context, failure::Failure, output::Table};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Session {
    New(New),
    Exec(Box<Within>),
    Ls(Ls),
    Rm(Rm),
}

/// Open a session: a container that nobody used before
///
/// Its files stay from one run to the next, its processes do not. It is closed when nobody has used it for as long
/// as exec.idle_ms in docker/config.json says.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// What it is called from now on
    name: String,
}

/// Run code in the container of a session; one run at a time
#[derive(Debug, clap::Args)]
pub(crate) struct Within {
    /// The session
    name: String,

    #[command(flatten)]
    exec: Exec,
}

/// List the sessions that are open
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {}

/// Close a session, after the run that it may have; nothing of it remains
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The session
    name: String,
}

#[derive(Debug, Serialize)]
struct Row {
    session: String,
    container_id: String,
    calls: u64,
    idle_ms: u64,
    running: bool,
}

impl Session {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(context),
            Self::Exec(within) => within.exec.within(within.name).run(context),
            Self::Ls(ls) => ls.run(context),
            Self::Rm(rm) => rm.run(context),
        }
    }
}

impl New {
    fn run(self, context: &mut Context) -> Result<(), Failure> {
        let request = SessionRequest { name: self.name };
        broker::converse(context, async move |mut client, context| {
            let name = request.name.clone();
            let opened = client.session_new(broker::question(request)).await;
            opened.map_err(|status| broker::refused(&status))?;
            context.console.say(&format!("session `{name}` is open"));
            Ok(())
        })
    }
}

impl Rm {
    fn run(self, context: &mut Context) -> Result<(), Failure> {
        let request = SessionRequest { name: self.name };
        broker::converse(context, async move |mut client, context| {
            let name = request.name.clone();
            let closed = client.session_remove(request).await;
            closed.map_err(|status| broker::refused(&status))?;
            context.console.say(&format!("session `{name}` is closed"));
            Ok(())
        })
    }
}

impl Ls {
    fn run(self, context: &mut Context) -> Result<(), Failure> {
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .session_list(broker::question(SessionListRequest {}))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let rows: Vec<Row> = reply.sessions.into_iter().map(Row::of).collect();
            if rows.is_empty() {
                context.console.say("no session is open");
            }
            context.out.list(&rows, table)
        })
    }
}

impl Row {
    fn of(status: SessionStatus) -> Self {
        Self {
            session: status.name,
            container_id: status.container_id,
            calls: status.calls,
            idle_ms: status.idle_ms,
            running: status.running,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["session", "container", "runs", "idle"]);
    for row in rows {
        table.row([
            row.session.clone(),
            row.container_id.chars().take(12).collect(),
            row.calls.to_string(),
            if row.running {
                "running".to_owned()
            } else {
                format!("{} s", row.idle_ms / 1000)
            },
        ]);
    }
    table
}
