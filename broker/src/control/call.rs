//! `packctl call`: one tool, one answer, and what it was refused meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rumi_audit::Peer;
use rumi_policy::{ComponentId, HandlerName, Kind};
use rumi_proto::v1;
use serde_json::json;
use tonic::Status;

use super::ControlService;
use crate::{
    caller::{Invocation, SeenDenial},
    executions::Execution,
    workers::{CallReport, Stopped},
};

impl ControlService {
    /// Tells a pack that is down from a name that was mistyped.
    fn does_not_run(&self, component: &ComponentId) -> Status {
        let pack = component.pack();
        if let Some(running) = self.packs.running(&pack) {
            let known: Vec<_> = running
                .components
                .iter()
                .map(|known| format!("`{}`", known.component))
                .collect();
            return Status::not_found(format!(
                "pack `{pack}` runs without a component `{component}`; it has {}",
                known.join(", ")
            ));
        }
        let packs = self.packs.broker().layout().packs();
        Status::not_found(if packs.join(pack.as_str()).is_dir() {
            format!("`{component}` does not run; remedy: packctl up {pack}")
        } else {
            format!("there is no pack `{pack}`; remedy: packctl init {pack}")
        })
    }

    pub(super) async fn call_tool(
        &self,
        actor: Peer,
        request: v1::CallRequest,
    ) -> Result<v1::CallResponse, Status> {
        let asked = Instant::now();
        let component: ComponentId = request
            .component_id
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        if component.kind() != Kind::Tool {
            return Err(Status::failed_precondition(format!(
                "`{component}` is a service; only tools are called"
            )));
        }
        if let Some(handler) = HandlerName::of_pack(&component.pack()) {
            return Err(Status::failed_precondition(format!(
                "`{handler}` is a custom handler; a component that was granted it calls it, with rumi.call(\"{handler}\", …)"
            )));
        }
        let Some((pack, pool, container)) = self.packs.find(&component) else {
            return Err(self.does_not_run(&component));
        };
        let args = match pack.arguments(&component, &request.args_json) {
            Ok(args) => args,
            Err(error) => {
                let result = json!({
                    "ok": false,
                    "error": {"message": error.to_string(), "type": "invalid_arguments"},
                });
                return Ok(v1::CallResponse {
                    result_json: result.to_string(),
                    stopped_reason: "not_started".to_owned(),
                    ..v1::CallResponse::default()
                });
            }
        };
        let invocation = Arc::new(Invocation::new());
        self.admin(actor, "call", invocation.id(), Some(&component))
            .await?;
        let timeout =
            (request.timeout_ms > 0).then(|| Duration::from_millis(u64::from(request.timeout_ms)));
        let report = pool.call(Arc::clone(&invocation), args, timeout).await;
        let argv = pool.spec().argv();
        self.packs.broker().executions().write(&Execution {
            container_id: &container,
            component: component.as_str(),
            argv: &argv,
            duration: report.duration,
            exit_code: None,
            truncated: report.truncated,
            stopped_reason: report.stopped.as_str(),
            error: None,
            findings: &[],
        });
        Ok(response(report, &invocation, asked))
    }
}

fn response(report: CallReport, invocation: &Invocation, asked: Instant) -> v1::CallResponse {
    let times = v1::CallTimes {
        waiting_us: micros(report.waiting),
        ending_us: micros(report.ending),
        total_us: micros(asked.elapsed()),
    };
    v1::CallResponse {
        times: (report.stopped != Stopped::NotStarted).then_some(times),
        result_json: report.result,
        invocation: invocation.id().to_owned(),
        stdout: report.stdout,
        stderr: report.stderr,
        truncated: report.truncated,
        duration_us: micros(report.duration),
        memory_peak_bytes: report.memory_peak,
        stopped_reason: report.stopped.as_str().to_owned(),
        denials: invocation.denials().into_iter().map(wire).collect(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn wire(denial: SeenDenial) -> v1::CallDenial {
    v1::CallDenial {
        record: denial.record,
        permission: denial.permission.into_owned(),
        target: denial.target,
        reason: denial.reason.to_owned(),
        remedy: denial.remedy,
    }
}
