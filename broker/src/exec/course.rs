//! The course of one run, in the container that it was given.

use std::sync::Arc;

use bytes::Bytes;
use rumi_audit::{Admin, Peer};
use rumi_policy::ComponentId;
use serde_json::json;

use super::{
    attend::{Run, attend},
    check,
    collect::{self, Collected},
    credentials::Lent,
    error::ExecError,
    program::{Program, main_file},
    ready::Prepared,
    report::Report,
    request::{InputFile, Order},
    rights::{self, Rights},
    slot::Slot,
};
use crate::{broker::Broker, caller::Invocation, executions::Execution, vetting::Mask};

/// Who runs what, under which name in the log.
#[derive(Debug)]
pub(super) struct Course<'a> {
    broker: &'a Arc<Broker>,
    actor: Peer,
    order: &'a Order,
    invocation: Arc<Invocation>,
}

impl<'a> Course<'a> {
    /// One that has not begun.
    pub(super) fn new(broker: &'a Arc<Broker>, actor: Peer, order: &'a Order) -> Self {
        Self {
            broker,
            actor,
            order,
            invocation: Arc::new(Invocation::new()),
        }
    }

    /// Takes it to its end.
    pub(super) async fn run(self, prepared: &mut Prepared) -> Result<Report, ExecError> {
        let (slot, image) = (&mut prepared.slot, &prepared.image);
        if self.order.grant.is_some() && self.actor.uid != 0 {
            return Err(ExecError::NotRoot);
        }
        let language = self.order.language.language;
        if let Some(lack) = image.lacks(language) {
            return Err(ExecError::Lacking(lack));
        }
        let record = self.record(slot.component(), slot.container()).await?;
        let settings = &self.broker.config().exec;
        let findings = check::check(slot, self.order, settings).await?;
        let program = Program::new(language, slot.component(), image.venv, self.order.network);
        let mut report = Report::new(self.order, record, slot.container());
        if self.order.check_only || !findings.is_empty() {
            report.findings = findings;
        } else {
            self.with_rights(slot, program.clone(), &mut report).await?;
        }
        self.note(&report, slot, &program);
        Ok(report)
    }

    /// Lends the run its rights, and takes them back when all of it has ended.
    async fn with_rights(
        &self,
        slot: &mut Slot,
        mut program: Program,
        report: &mut Report,
    ) -> Result<(), ExecError> {
        let (broker, order) = (self.broker, self.order);
        let component = slot.component().clone();
        let given = order.grant.as_deref();
        let rights = Rights::lend(broker, &component, given, order.network).await?;
        let identity = Arc::clone(slot.identity());
        let wanted = &order.credentials;
        let lent = Lent::fetch(broker, &identity, self.actor, &self.invocation, wanted).await;
        let ran = match lent {
            Ok(lent) => {
                program.env.extend(lent.variables());
                self.attended(slot, &program, &lent.mask(), report).await
            }
            Err(error) => Err(error
                .with_remedy(&self.invocation, order, &component)
                .into()),
        };
        self.invocation.end();
        rights.give_back().await;
        ran
    }

    async fn attended(
        &self,
        slot: &mut Slot,
        program: &Program,
        mask: &Mask,
        report: &mut Report,
    ) -> Result<(), ExecError> {
        let files = input(self.order);
        let settings = &self.broker.config().exec;
        let max_output = usize::try_from(settings.max_output.bytes()).unwrap_or(usize::MAX);
        let cpu_before = slot.cpu_time();
        let (keeper, ahead) = slot.keeper_for(program, self.order).await?;
        keeper.begin(&self.invocation);
        slot.pool().runs(&self.invocation);
        let run = Run {
            files: &files,
            program,
            ahead,
            stdin: &self.order.stdin,
            time: self.order.time,
            memory_bytes: self.order.memory_bytes,
            pids: u64::from(settings.pids.get()),
            max_output,
            mask,
        };
        report.came = attend(keeper, run).await;
        report.cpu_time = slot.cpu_time().saturating_sub(cpu_before);
        if self.order.files_out {
            report.left = leavings(slot, &files, max_output).await.masked(mask);
        }
        report.denied(self.invocation.denials(), mask, |remedy| {
            // The run's own name means nothing any more when somebody reads it: what he can change is the grant
            // for all code.
            remedy.replace(slot.component().as_str(), rights::DEFAULT)
        });
        Ok(())
    }

    /// Writes down who runs what, before it runs.
    async fn record(&self, component: &ComponentId, container: &str) -> Result<String, ExecError> {
        let order = self.order;
        let detail = json!({
            "language": order.language.language.as_str(),
            "code_hmac": self.broker.audit().fingerprint(order.code.as_bytes()),
            "container": container,
            "seconds": order.time.as_secs(),
            "memory_mb": order.memory_bytes >> 20,
            "network": order.network,
            "grant": order.grant.is_some(),
            "credentials": order.credentials.iter().map(|one| one.secret.as_str()).collect::<Vec<_>>(),
            "session": order.session.as_ref().map(ToString::to_string),
            "check_only": order.check_only,
        });
        let admin = Admin {
            actor: self.actor,
            action: "exec",
            target: self.invocation.id().as_bytes(),
            pack: Some(component.pack_str()),
            component: Some(component.as_str()),
            reason: None,
            detail: Some(&detail),
        };
        Ok(self.broker.audit().admin(admin).await?.to_string())
    }

    fn note(&self, report: &Report, slot: &Slot, program: &Program) {
        let findings = report.findings.list().iter();
        let findings: Vec<_> = findings
            .filter_map(|finding| serde_json::to_value(finding).ok())
            .collect();
        self.broker.executions().write(&Execution {
            container_id: &report.container,
            component: slot.component().as_str(),
            argv: &program.argv,
            duration: report.came.duration,
            exit_code: report.came.exit_code.map(i64::from),
            truncated: report.came.truncated,
            stopped_reason: report.reason(),
            error: report.came.error.as_deref(),
            findings: &findings,
        });
    }
}

/// The code and the files that lie beside it.
fn input(order: &Order) -> Vec<InputFile> {
    let code = InputFile {
        name: main_file(order.language.language).to_owned(),
        content: Bytes::from(order.code.clone()),
    };
    let given = order.files.iter().map(|file| InputFile {
        name: file.name.clone(),
        content: file.content.clone(),
    });
    std::iter::once(code).chain(given).collect()
}

/// The files of a run that is over.
async fn leavings(slot: &mut Slot, files: &[InputFile], most: usize) -> Collected {
    let collected = match slot.keeper().await {
        Ok(keeper) => collect::collect(keeper, files, most)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    collected.unwrap_or_else(|error| {
        tracing::warn!(component = %slot.component(), %error, "the files of a run could not be fetched");
        Collected {
            left_out: 1,
            ..Collected::default()
        }
    })
}
