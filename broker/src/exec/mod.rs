//! Ad-hoc code: each run has a container that nobody used before and nobody uses after.
//!
//! `order → container → record → look through → rights → credentials → files and code in → run → all of it ended → files out →
//! rights back → log line → reply`

mod attend;
mod check;
mod collect;
mod course;
mod credentials;
mod error;
mod frame;
mod image;
mod places;
mod program;
mod ready;
mod report;
mod request;
mod rights;
mod session;
mod slot;

use std::sync::{Arc, atomic::Ordering};

use rumi_audit::Peer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use credentials::CredentialError;
pub use error::ExecError;
pub use image::LibrariesState;
pub use report::Report;
pub use request::Order;
pub use session::{SessionError, SessionName};

use self::{
    course::Course,
    image::Images,
    ready::{Prepared, Ready},
    session::Sessions,
};
use crate::broker::Broker;

/// Runs ad-hoc code.
#[derive(Debug)]
pub struct Executor {
    broker: Arc<Broker>,
    images: Arc<Images>,
    ready: Arc<Ready>,
    turns: Arc<Semaphore>,
    sessions: Arc<Sessions>,
    stopping: CancellationToken,
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
            stopping: CancellationToken::new(),
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
            let mut prepared = self.ready.take(order.language.language).await?;
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

    /// A run ends with the broker: what is dropped here ends its processes.
    async fn in_container(
        &self,
        actor: Peer,
        order: &Order,
        prepared: &mut Prepared,
    ) -> Result<Report, ExecError> {
        let course = Course::new(&self.broker, actor, order);
        tokio::select! {
            report = course.run(prepared) => report,
            () = self.stopping.cancelled() => Err(ExecError::Stopping),
        }
    }

    /// Opens a session; the container that is its own from now on.
    ///
    /// # Errors
    /// When the name is taken, too many are open, or there is no container.
    pub async fn open_session(&self, name: &SessionName) -> Result<String, SessionError> {
        self.sessions.room_for(name)?;
        let language = self.broker.config().exec.usual_language();
        let prepared = self.ready.take(language).await?;
        let session = self.sessions.insert(name, prepared)?;
        let container = session.id.clone();
        let idle = self.broker.config().exec.idle_ms.duration();
        tokio::spawn(Arc::clone(&self.sessions).expire(name.clone(), session, idle));
        if self.stopping.is_cancelled() {
            // It came when the others were closed already.
            self.sessions.remove(name).await?;
        }
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

    /// Ends what runs, removes all containers, those that are being made as well, and makes no more.
    pub async fn close(&self) {
        self.stopping.cancel();
        tokio::join!(self.ready.close(), self.sessions.close());
    }
}
