//! Keeps handlers as their files are: one task a handler, told by whoever reads the directory.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rumi_policy::HandlerName;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    generated::{self, Generated},
    load::{self, Trouble},
    registry::{Entry, Handlers, Start, State},
    scan::{Scan, Sourced, scan},
};
use crate::{
    packs::Packs,
    watch::{self as directories, WatchError},
};

/// Readings of the directory that may wait to be taken up.
const SCANS: usize = 4;
/// How often a handler's use is looked at.
const GLANCE: Duration = Duration::from_secs(30);
/// A handler that nobody called for so long gives its memory back.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// Follows the directory of handlers for as long as the process lives.
///
/// # Errors
/// When the kernel refuses to watch.
pub fn start(packs: &Arc<Packs>) -> Result<Arc<Handlers>, WatchError> {
    let (handlers, wanted) = Handlers::new();
    let directory = packs.broker().layout().handlers();
    let (sender, scans) = mpsc::channel(SCANS);
    let docker = directory.parent().map(ToOwned::to_owned);
    let followed = docker.into_iter().chain([directory.clone()]).collect();
    let mut keeper = Keeper {
        packs: Arc::clone(packs),
        handlers: Arc::clone(&handlers),
        tenders: HashMap::new(),
        turns: Arc::new(Semaphore::new(usize::from(
            packs.broker().config().start.concurrency.get(),
        ))),
    };
    let watched = directory.clone();
    directories::start("rumi-handlers", followed, move || {
        if sender.blocking_send(scan(&watched)).is_err() {
            tracing::debug!("nobody keeps the handlers any more");
        }
    })?;
    // Once the directory is watched, so that nothing is missed; and before anybody may call.
    let mut first = scan(&directory);
    // What a broker before us made of handlers whose files went away meanwhile.
    for name in generated::left(&packs.broker().layout().handler_packs()) {
        first.handlers.entry(name).or_insert(Sourced::Gone);
    }
    keeper.take_up(first);
    tokio::spawn(keeper.run(scans));
    tokio::spawn(serve_starts(Arc::clone(packs), wanted));
    Ok(handlers)
}

/// Starts handlers for their callers. A task of its own each: a caller keeps the handler from
/// being replaced meanwhile, and must not wait for who would replace it.
async fn serve_starts(packs: Arc<Packs>, mut wanted: mpsc::Receiver<Start>) {
    while let Some(start) = wanted.recv().await {
        let packs = Arc::clone(&packs);
        tokio::spawn(async move {
            let started = load::start(&packs, &start.entry, &start.content).await;
            // Whoever asked may have gone away; the handler is up all the same.
            drop(start.reply.send(started));
        });
    }
}

struct Keeper {
    packs: Arc<Packs>,
    handlers: Arc<Handlers>,
    tenders: HashMap<HandlerName, watch::Sender<Sourced>>,
    turns: Arc<Semaphore>,
}

impl Keeper {
    async fn run(mut self, mut scans: mpsc::Receiver<Scan>) {
        while let Some(scan) = scans.recv().await {
            self.take_up(scan);
        }
    }

    fn take_up(&mut self, scan: Scan) {
        let Scan {
            mut handlers,
            strangers,
        } = scan;
        self.handlers.set_strangers(strangers);
        for name in self.tenders.keys() {
            handlers.entry(name.clone()).or_insert(Sourced::Gone);
        }
        for (name, sourced) in handlers {
            match self.tenders.get(&name) {
                // Sent even where nothing has changed: what failed in passing is tried again.
                Some(tender) => drop(tender.send_replace(sourced)),
                None => {
                    let (sender, sources) = watch::channel(sourced);
                    let tender = Tender::new(self, &name);
                    tokio::spawn(tender.run(sources));
                    self.tenders.insert(name, sender);
                }
            }
        }
    }
}

/// Looks after one handler.
struct Tender {
    packs: Arc<Packs>,
    entry: Arc<Entry>,
    generated: Generated,
    turns: Arc<Semaphore>,
    calls: u64,
    used: Instant,
}

impl Tender {
    fn new(keeper: &Keeper, name: &HandlerName) -> Self {
        let packs = keeper.packs.broker().layout().handler_packs();
        Self {
            packs: Arc::clone(&keeper.packs),
            entry: keeper.handlers.entry(name),
            generated: Generated::new(&packs, name),
            turns: Arc::clone(&keeper.turns),
            calls: 0,
            used: Instant::now(),
        }
    }

    async fn run(mut self, mut sources: watch::Receiver<Sourced>) {
        let mut settled: Option<Sourced> = None;
        loop {
            let sourced = sources.borrow_and_update().clone();
            if settled.as_ref() != Some(&sourced) {
                settled = self.follow(&sourced).await.then_some(sourced);
            }
            tokio::select! {
                changed = sources.changed() => if changed.is_err() { return },
                () = self.entry.again.notified() => settled = None,
                () = tokio::time::sleep(GLANCE) => self.rest().await,
            }
        }
    }

    /// Makes the handler what its file says; false where that should be tried again.
    async fn follow(&self, sourced: &Sourced) -> bool {
        match sourced {
            Sourced::Gone => {
                self.refuse(State::Gone).await;
                if let Err(error) = self.generated.remove() {
                    tracing::warn!(handler = %self.entry.name, %error, "something of a handler is left");
                    return false;
                }
                // Once more, now that its directory is gone, so that nothing remembers it.
                load::down(&self.packs, &self.entry).await;
                true
            }
            Sourced::Refused(why) => {
                self.refuse(State::Refused(why.clone())).await;
                true
            }
            Sourced::File(source) => {
                let before = self.entry.state.borrow().clone();
                if !matches!(before, State::Ready(_)) {
                    self.entry.state.send_replace(State::Loading);
                }
                // Nobody closes the semaphore.
                let _turn = self.turns.acquire().await;
                let loaded = load::load(&self.packs, &self.entry, &self.generated, source).await;
                let Err(Trouble { why, passing }) = loaded else {
                    return true;
                };
                tracing::error!(handler = %self.entry.name, %why, "a handler is refused");
                self.refuse(State::Refused(why)).await;
                !passing
            }
        }
    }

    /// From here on nobody calls it; calls that run end by themselves, and then their container.
    async fn refuse(&self, state: State) {
        self.entry.state.send_replace(state);
        let _turn = self.entry.gate.write().await;
        load::down(&self.packs, &self.entry).await;
    }

    /// Stops a container that nobody has used for long.
    async fn rest(&mut self) {
        let found = self.packs.find(&self.entry.name.component());
        let calls = found.map(|(_, pool, _)| pool.status().calls);
        if calls != Some(self.calls) {
            self.calls = calls.unwrap_or(0);
            self.used = Instant::now();
            return;
        }
        // A call that runs is use as well; the next glance looks again.
        if self.used.elapsed() > IDLE
            && let Ok(_turn) = self.entry.gate.try_write()
        {
            load::down(&self.packs, &self.entry).await;
        }
    }
}
