//! Ad-hoc code: each run has a container that nobody used before and nobody uses after.
//!
//! `order → container → record → look through → rights → credentials → files and code in → run → all of it ended → files out →
//! rights back → log line → reply`

mod attend;
mod check;
mod collect;
mod credentials;
mod frame;
mod image;
mod program;
mod ready;
mod report;
mod request;
mod rights;
mod session;
mod slot;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use rumi_audit::{Admin, Peer};
use rumi_policy::ComponentId;
use serde_json::json;
use tokio::sync::Semaphore;

pub use check::CheckError;
pub use credentials::CredentialError;
pub use image::LibrariesState;
pub use report::Report;
pub use request::Order;
pub use rights::RightsError;
pub use session::{SessionError, SessionName};
pub use slot::SlotError;

use self::{
    attend::{Came, Run, attend},
    collect::Collected,
    credentials::Lent,
    image::Images,
    program::{Program, main_file},
    ready::{Prepared, Ready},
    report::OutputFile,
    request::InputFile,
    rights::Rights,
    session::Sessions,
    slot::Slot,
};
use crate::{
    broker::Broker,
    caller::{Invocation, SeenDenial},
    executions::Execution,
    vetting::{Findings, Mask},
};

/// Why code was not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no container for it.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The log cannot be written.
    #[error("the audit log cannot be written, so nothing is done: {0}")]
    Audit(#[from] rumi_audit::Unavailable),
    /// What runs it is not there.
    #[error("{0}")]
    Lacking(&'static str),
    /// The code could not be looked through.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Rights are root's to give, as the files in `grants/` are.
    #[error(
        "only root may give a run a grant of its own; remedy: run packctl as root, or have the grant in grants/exec:tool:run.json"
    )]
    NotRoot,
    /// It cannot have the rights that it was to have.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// It cannot have a secret that it was to have.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The run was given up half-way.
    #[error("the run ended in a failure of the broker; its log says why")]
    Failed,
}

/// Runs ad-hoc code.
#[derive(Debug)]
pub struct Executor {
    broker: Arc<Broker>,
    images: Arc<Images>,
    ready: Arc<Ready>,
    turns: Arc<Semaphore>,
    sessions: Arc<Sessions>,
}

/// A session that is open, for whoever lists them.
#[derive(Debug)]
pub struct OpenSession {
    /// Its name.
    pub name: SessionName,
    /// Its container.
    pub container: String,
    /// Runs so far.
    pub calls: u64,
    /// How long nobody has used it.
    pub idle: std::time::Duration,
    /// Whether a call of it runs now.
    pub runs: bool,
}

impl Executor {
    /// With no container yet: the first run has them made. Inside of a runtime, which builds the image that they need.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Arc<Self> {
        let turns = usize::from(broker.config().exec.running.get());
        let images = Images::new(Arc::clone(&broker));
        images.prepare();
        Arc::new(Self {
            ready: Ready::new(Arc::clone(&broker), Arc::clone(&images)),
            images,
            broker,
            turns: Arc::new(Semaphore::new(turns)),
            sessions: Arc::default(),
        })
    }

    /// The settings.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Whether the image has the libraries that code is to find.
    #[must_use]
    pub fn libraries(&self) -> LibrariesState {
        self.images.state()
    }

    /// Runs an order to its end. A task of its own: whoever asked may go away, and its containers are removed
    /// all the same.
    ///
    /// # Errors
    /// When there is no run. Code that fails is no error.
    pub async fn run(self: &Arc<Self>, actor: Peer, order: Order) -> Result<Report, ExecError> {
        let me = Arc::clone(self);
        let running = tokio::spawn(async move {
            // Nobody closes it.
            let turn = Arc::clone(&me.turns).acquire_owned().await.ok();
            let report = me.once(actor, &order).await;
            drop(turn);
            report
        });
        running.await.map_err(|error| {
            tracing::error!(%error, "a run of ad-hoc code failed");
            ExecError::Failed
        })?
    }

    async fn once(&self, actor: Peer, order: &Order) -> Result<Report, ExecError> {
        let Some(name) = &order.session else {
            let mut prepared = self.ready.take().await?;
            let report = self.in_container(actor, order, &mut prepared).await;
            // Nobody uses it after; and nobody waits for its end.
            tokio::spawn(prepared.slot.retire());
            return report;
        };
        let session = self.sessions.find(name)?;
        let mut container = session
            .container
            .try_lock()
            .map_err(|_| SessionError::Busy(name.clone()))?;
        let prepared = container
            .as_mut()
            .ok_or_else(|| SessionError::Unknown(name.clone()))?;
        session.calls.fetch_add(1, Ordering::Relaxed);
        session.touch();
        let report = self.in_container(actor, order, prepared).await;
        session.touch();
        report
    }

    async fn in_container(
        &self,
        actor: Peer,
        order: &Order,
        prepared: &mut Prepared,
    ) -> Result<Report, ExecError> {
        let (slot, image) = (&mut prepared.slot, &prepared.image);
        if order.grant.is_some() && actor.uid != 0 {
            return Err(ExecError::NotRoot);
        }
        let language = order.language.language;
        if let Some(lack) = image.lacks(language) {
            return Err(ExecError::Lacking(lack));
        }
        let invocation = Arc::new(Invocation::new());
        let record = self
            .record(
                actor,
                order,
                slot.component(),
                slot.container(),
                &invocation,
            )
            .await?;
        let settings = &self.broker.config().exec;
        let findings = check::check(slot, order, settings).await?;
        let program = Program::new(language, slot.component(), image.venv, order.network);
        let mut report = Report::of(order, record, slot.container());
        if order.check_only || !findings.is_empty() {
            report.findings = findings;
        } else {
            self.with_rights(
                actor,
                order,
                slot,
                program.clone(),
                &invocation,
                &mut report,
            )
            .await?;
        }
        self.note(&report, slot.component().as_str(), &program);
        Ok(report)
    }

    /// Lends the run its rights, and takes them back when all of it has ended.
    async fn with_rights(
        &self,
        actor: Peer,
        order: &Order,
        slot: &mut Slot,
        mut program: Program,
        invocation: &Arc<Invocation>,
        report: &mut Report,
    ) -> Result<(), ExecError> {
        let given = order.grant.as_deref();
        let component = slot.component().clone();
        let rights = Rights::lend(&self.broker, &component, given, order.network).await?;
        let identity = Arc::clone(slot.identity());
        let lent = Lent::fetch(
            &self.broker,
            &identity,
            actor,
            invocation,
            &order.credentials,
        )
        .await;
        let ran = match lent {
            Ok(lent) => {
                program.env.extend(lent.variables());
                self.attended(order, slot, &program, &lent.mask(), invocation, report)
                    .await
            }
            Err(error) => Err(error.into()),
        };
        invocation.end();
        rights.give_back().await;
        ran
    }

    async fn attended(
        &self,
        order: &Order,
        slot: &mut Slot,
        program: &Program,
        mask: &Mask,
        invocation: &Arc<Invocation>,
        report: &mut Report,
    ) -> Result<(), ExecError> {
        let files = input(order);
        let settings = &self.broker.config().exec;
        let max_output = usize::try_from(settings.max_output.bytes()).unwrap_or(usize::MAX);
        let cpu_before = slot.cpu_time();
        let keeper = slot.keeper().await?;
        keeper.begin(invocation);
        slot.pool().runs(invocation);
        let run = Run {
            files: &files,
            program,
            stdin: &order.stdin,
            time: order.time,
            memory_bytes: order.memory_bytes,
            pids: u64::from(settings.pids.get()),
            max_output,
            mask,
        };
        let came = attend(keeper, run).await;
        report.cpu_time = slot.cpu_time().saturating_sub(cpu_before);
        report.came(came, mask);
        if order.files_out {
            report.left(self.leavings(slot, &files, max_output).await, mask);
        }
        report.denied(invocation.denials(), slot.component(), mask);
        Ok(())
    }

    /// Writes down who runs what, before it runs.
    async fn record(
        &self,
        actor: Peer,
        order: &Order,
        component: &ComponentId,
        container: &str,
        invocation: &Invocation,
    ) -> Result<String, ExecError> {
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
            actor,
            action: "exec",
            target: invocation.id().as_bytes(),
            pack: Some(component.pack_str()),
            component: Some(component.as_str()),
            reason: None,
            detail: Some(&detail),
        };
        Ok(self.broker.audit().admin(admin).await?.to_string())
    }

    async fn leavings(&self, slot: &mut slot::Slot, files: &[InputFile], most: usize) -> Collected {
        let keeper = slot.keeper().await;
        let collected = match keeper {
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

    fn note(&self, report: &Report, component: &str, program: &Program) {
        let findings = report.findings.list().iter();
        let findings: Vec<_> = findings
            .filter_map(|finding| serde_json::to_value(finding).ok())
            .collect();
        self.broker.executions().write(&Execution {
            container_id: &report.container,
            component,
            argv: &program.argv,
            duration: report.duration,
            exit_code: report.exit_code.map(i64::from),
            truncated: report.truncated,
            stopped_reason: report.reason(),
            error: report.error.as_deref(),
            findings: &findings,
        });
    }

    /// Opens a session; the container that is its own from now on.
    ///
    /// # Errors
    /// When the name is taken, too many are open, or there is no container.
    pub async fn open_session(&self, name: &SessionName) -> Result<String, SessionError> {
        self.sessions.room_for(name)?;
        let prepared = self.ready.take().await?;
        let session = self.sessions.insert(name, prepared)?;
        let container = session.id.clone();
        let idle = self.broker.config().exec.idle_ms.duration();
        tokio::spawn(Arc::clone(&self.sessions).expire(name.clone(), session, idle));
        Ok(container)
    }

    /// Closes a session, after the run that it may have.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn close_session(&self, name: &SessionName) -> Result<(), SessionError> {
        self.sessions.remove(name).await
    }

    /// The sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> Vec<OpenSession> {
        let open = self.sessions.list().into_iter();
        open.map(|(name, session)| OpenSession {
            name,
            container: session.id.clone(),
            calls: session.calls.load(Ordering::Relaxed),
            idle: session.idle(),
            runs: session.runs(),
        })
        .collect()
    }

    /// Removes all containers, and makes no more.
    pub async fn close(&self) {
        tokio::join!(self.ready.close(), self.sessions.close());
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

impl Report {
    /// Of a run that has not begun.
    fn of(order: &Order, record: String, container: &str) -> Self {
        Self {
            language: order.language.clone(),
            record,
            container: container.to_owned(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            exit_code: None,
            stopped: None,
            error: None,
            duration: std::time::Duration::ZERO,
            memory_peak: 0,
            cpu_time: std::time::Duration::ZERO,
            files: Vec::new(),
            files_left_out: 0,
            denials: Vec::new(),
            findings: Findings::default(),
        }
    }

    fn came(&mut self, came: Came, mask: &Mask) {
        self.stdout = came.stdout;
        self.stderr = came.stderr;
        self.truncated = came.truncated;
        self.exit_code = came.exit_code;
        self.stopped = came.stopped;
        self.error = came.error.map(|error| mask.text(&error));
        self.duration = came.duration;
        self.memory_peak = came.memory_peak;
    }

    fn left(&mut self, left: Collected, mask: &Mask) {
        self.files_left_out = left.left_out;
        let masked = |file: OutputFile| OutputFile {
            name: mask.text(&file.name),
            content: mask.whole(&file.content),
        };
        self.files = left.files.into_iter().map(masked).collect();
    }

    /// The run's own name means nothing any more when somebody reads the remedy: what he can change is the grant
    /// for all code.
    fn denied(&mut self, denials: Vec<SeenDenial>, component: &ComponentId, mask: &Mask) {
        let masked = |denial: SeenDenial| SeenDenial {
            target: mask.text(&denial.target),
            remedy: mask.text(&denial.remedy.replace(component.as_str(), rights::DEFAULT)),
            ..denial
        };
        self.denials = denials.into_iter().map(masked).collect();
    }
}
