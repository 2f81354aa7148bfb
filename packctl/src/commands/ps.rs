//! `packctl ps`

use rumi_policy::PackId;
use rumi_proto::v1::{ComponentStatus, PackStatus, PsRequest};
use serde::Serialize;

use super::lifecycle::short;
use crate::{broker, context::Context, failure::Failure, moment::Moment, output::Table};

/// List packs and their components
#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    /// Packs to list; all when none is named
    #[arg(value_name = "PACK")]
    packs: Vec<PackId>,
}

#[derive(Debug, Serialize)]
struct Pack {
    pack: String,
    state: String,
    started: Option<String>,
    container: String,
    image: String,
    message: String,
    waits_for_approval: bool,
    components: Vec<Component>,
    #[serde(skip)]
    up_for: String,
}

#[derive(Debug, Serialize)]
struct Component {
    component: String,
    uid: u32,
    worker_attached: bool,
    spares: u32,
    calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service>,
}

#[derive(Debug, Serialize)]
struct Service {
    running: bool,
    starts: u32,
    ended: String,
}

impl Ps {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let packs = self.packs.iter().map(ToString::to_string).collect();
        broker::converse(context, async move |mut client, context| {
            let reply = client
                .ps(broker::question(PsRequest { packs }))
                .await
                .map_err(|status| broker::refused(&status))?
                .into_inner();
            let now = Moment::now();
            let packs: Vec<Pack> = reply
                .packs
                .into_iter()
                .map(|pack| Pack::of(pack, now))
                .collect();
            if packs.is_empty() {
                context.console.say("there are no packs");
            }
            context.out.list(&packs, table)
        })
    }
}

impl Pack {
    fn of(status: PackStatus, now: Moment) -> Self {
        let up_for = Moment::parse(&status.started, now)
            .ok()
            .filter(|_| status.state == "running")
            .map(|started| started.ago(now))
            .unwrap_or_default();
        Self {
            up_for,
            started: Some(status.started).filter(|started| !started.is_empty()),
            pack: status.pack,
            state: status.state,
            container: status.container_id,
            image: status.image_id,
            message: status.message,
            waits_for_approval: status.waits_for_approval,
            components: status.components.into_iter().map(Component::of).collect(),
        }
    }
}

impl Component {
    fn of(status: ComponentStatus) -> Self {
        Self {
            component: status.component_id,
            uid: status.uid,
            worker_attached: status.worker_attached,
            spares: status.spares,
            calls: status.calls,
            service: status.service.map(|service| Service {
                running: service.running,
                starts: service.starts,
                ended: service.ended,
            }),
        }
    }

    /// What there is to say in one cell: a service's program matters more than its worker.
    fn worker(&self) -> String {
        match &self.service {
            _ if !self.worker_attached => "away".to_owned(),
            None => "attached".to_owned(),
            Some(service) => {
                let state = if service.running { "runs" } else { "waits" };
                match service.starts {
                    0 | 1 => state.to_owned(),
                    starts => format!("{state}, start {starts}"),
                }
            }
        }
    }
}

fn table(packs: &[Pack]) -> Table {
    let mut table = Table::new(&[
        "pack",
        "state",
        "up",
        "component",
        "uid",
        "worker",
        "spares",
        "calls",
        "container",
        "message",
    ]);
    for pack in packs {
        let row = |cells: [String; 5]| {
            let [component, uid, worker, spares, calls] = cells;
            [
                pack.pack.clone(),
                pack.state.clone(),
                pack.up_for.clone(),
                component,
                uid,
                worker,
                spares,
                calls,
                short(&pack.container),
                pack.message.clone(),
            ]
        };
        if pack.components.is_empty() {
            table.row(row(Default::default()));
        }
        for component in &pack.components {
            table.row(row([
                component.component.clone(),
                component.uid.to_string(),
                component.worker(),
                component.spares.to_string(),
                component.calls.to_string(),
            ]));
        }
    }
    table
}
