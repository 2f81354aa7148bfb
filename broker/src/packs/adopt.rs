//! Docker is the database: what runs is adopted, what ended is noticed.

use std::sync::Arc;

use rumi_policy::PackId;
use tokio::sync::mpsc;

use super::{
    Live, Pack, Packs, Phase, StartError, staff,
    start::{askers, cgroup_of, tmp_of},
};
use crate::container::{ContainerId, Event, PackUids, Running, Watch};

/// Events that may wait while a reconciliation runs.
const EVENTS: usize = 256;

impl Packs {
    /// Follows the engine from now on; the first list adopts what runs.
    pub fn follow(self: &Arc<Self>) {
        let (sender, mut events) = mpsc::channel(EVENTS);
        let watching = Watch::start(self.broker.engine(), sender);
        let packs = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                packs.on_event(event).await;
            }
            watching.abort();
        });
    }

    /// Adopts what runs, before the first request is served.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn adopt_all(self: &Arc<Self>) -> Result<(), StartError> {
        let running = self.broker.engine().list().await?;
        self.reconcile(running).await;
        Ok(())
    }

    async fn on_event(self: &Arc<Self>, event: Event) {
        match event {
            Event::Listed(running) => self.reconcile(running).await,
            Event::Died { of, exit_code } => self.ended(&of.pack, &of.container, exit_code).await,
            Event::Removed(of) => self.removed(&of.pack, &of.container),
            Event::OutOfMemory(of) => {
                tracing::warn!(pack = %of.pack, "the kernel ended a process of the pack for want of memory");
            }
            Event::Lost(error) => tracing::error!(%error, "the engine cannot be reached"),
            Event::Started(of) => tracing::debug!(pack = %of.pack, "a container was started"),
            // Whether its worker comes back is seen by whoever looks after that worker.
            Event::ExecDied {
                of,
                exec,
                exit_code,
            } => {
                tracing::debug!(pack = %of.pack, exec = exec.as_str(), exit_code, "a worker's process ended");
            }
        }
    }

    /// Makes what is known equal to what the engine lists.
    async fn reconcile(self: &Arc<Self>, listed: Vec<Running>) {
        for shown in self.shown(&[]) {
            let Some(known) = shown.running else { continue };
            if !listed
                .iter()
                .any(|running| running.container == known.container)
            {
                self.removed(&shown.id, &known.container);
            }
        }
        for running in listed {
            let known = self
                .running(&running.pack)
                .is_some_and(|known| known.container == running.container);
            if !known {
                let pack = running.pack.clone();
                if let Err(error) = self.adopt(running).await {
                    tracing::error!(%pack, %error, "cannot adopt a container");
                    self.entry(&pack).set(Phase::Failed, error.to_string());
                }
            }
        }
    }

    async fn adopt(self: &Arc<Self>, running: Running) -> Result<(), StartError> {
        let entry = self.entry(&running.pack);
        let Ok(_turn) = entry.turn.try_lock() else {
            // It is just being started or stopped by us.
            return Ok(());
        };
        if running.pid().is_none() {
            entry.set(
                Phase::Failed,
                "its container has ended; start it again with: packctl up",
            );
            return Ok(());
        }
        let pack = self.as_started(&running).await?;
        let uids = PackUids {
            gid: running.gid,
            components: running.components.clone(),
        };
        self.broker
            .uids()
            .adopt(&running.pack, uids.gid, &uids.components)?;
        let (pools, identities, listeners) = self.listen(&pack, &uids)?;
        for identity in &identities {
            identity.enter(running.container.as_str());
        }
        let askers = askers(&uids, &pools, &identities);
        let files = self.mount_files(&running.pack, askers).await;
        {
            let mut inner = entry.inner();
            inner.phase = Phase::Running;
            inner.message.clear();
            inner.live = Some(Live {
                pack,
                running: running.clone(),
                pools: pools.clone(),
                listeners,
                files,
            });
        }
        self.adopted(&running, &pools)?;
        tracing::info!(pack = %running.pack, container = %running.container, "adopted");
        Ok(())
    }

    /// The pack as it was when this container was started. Its files may be others by now, and nobody
    /// approved those.
    async fn as_started(&self, running: &Running) -> Result<Arc<Pack>, StartError> {
        let id = &running.pack;
        if !id.is_reserved() {
            match self.broker.approvals().started(id)? {
                Some(started) if started.content == running.content => {
                    return Ok(Arc::new(Pack::parse(id, started.manifest.as_bytes())?));
                }
                _ => {
                    tracing::warn!(pack = %id, "its container is of an earlier broker; its manifest is read from its files")
                }
            }
        }
        Ok(Arc::clone(&self.read(id).await?.pack))
    }

    /// Ends what calls of the broker before left behind, and lets the workers come back.
    fn adopted(
        &self,
        running: &Running,
        pools: &std::collections::HashMap<rumi_policy::ComponentId, Arc<crate::workers::Pool>>,
    ) -> Result<(), StartError> {
        let cgroup = cgroup_of(running)?;
        cgroup.prepare()?;
        let left = cgroup.sweep()?;
        if left > 0 {
            tracing::info!(pack = %running.pack, left, "ended calls that an earlier broker left");
        }
        let (cgroup, tmp) = (Arc::new(cgroup), tmp_of(running));
        for pool in pools.values() {
            pool.take_over();
            pool.enter_container(Arc::clone(&cgroup), tmp.clone());
        }
        for user in running.components.iter().skip(1) {
            if let Some(pool) = pools.get(&user.component) {
                staff::look_after(self.broker.engine(), running, &user.component, pool);
            }
        }
        Ok(())
    }

    async fn ended(&self, pack: &PackId, container: &ContainerId, exit_code: i64) {
        if !self.is_live(pack, container) {
            return;
        }
        let words = self.broker.engine().last_words(container).await;
        let message = format!(
            "its container ended with {exit_code}; its last words: {}",
            words.replace('\n', " | ").escape_debug()
        );
        tracing::warn!(%pack, %message, "a container ended by itself");
        self.entry(pack).retire(Phase::Failed, message);
    }

    fn removed(&self, pack: &PackId, container: &ContainerId) {
        if self.is_live(pack, container) {
            tracing::warn!(%pack, "a container was removed behind the broker's back");
            self.entry(pack)
                .retire(Phase::Failed, "its container was removed by someone else");
        }
    }

    fn is_live(&self, pack: &PackId, container: &ContainerId) -> bool {
        self.running(pack)
            .is_some_and(|running| running.container == *container)
    }
}
