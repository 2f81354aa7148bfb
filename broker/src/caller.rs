//! Who asks. Taken from the socket a connection arrived on, never from a request.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_audit::Peer;
use rumi_policy::{ComponentId, Permission, PermissionName, manifest::Base};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    outbound,
    presence::Presence,
    shares::{Place, Shares},
    throttle::Throttle,
};

/// One call of a tool, as far as its requests must know it.
#[derive(Debug)]
pub struct Invocation {
    id: String,
    /// Handlers that led to this call.
    depth: u32,
    ended: CancellationToken,
    cut: CancellationToken,
    denials: Mutex<Vec<SeenDenial>>,
}

/// A refusal that a call ran into, kept so that the admin sees it beside the answer.
#[derive(Debug, Clone)]
pub struct SeenDenial {
    /// Identifier of the audit record.
    pub record: String,
    /// The permission that was asked for.
    pub permission: std::borrow::Cow<'static, str>,
    /// What was asked for.
    pub target: String,
    /// Reason code.
    pub reason: &'static str,
    /// The command that would allow it.
    pub remedy: String,
}

/// Refusals kept for one call; a call that provokes more is only counted.
const DENIALS_KEPT: usize = 100;

impl Invocation {
    /// A new call under a fresh identifier, unique for as long as the machine keeps its boot:
    /// the time of the start, then a count.
    #[must_use]
    pub fn new() -> Self {
        static START: OnceLock<u128> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let start = START.get_or_init(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis()
        });
        Self {
            id: format!("call-{start:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            depth: 0,
            cut: CancellationToken::new(),
            ended: CancellationToken::new(),
            denials: Mutex::default(),
        }
    }
    /// A call of a handler, for a caller that came through `depth` of them.
    #[must_use]
    pub fn of_handler(depth: u32) -> Self {
        Self {
            depth: depth.saturating_add(1),
            ..Self::new()
        }
    }
    /// Ends the call before it has answered.
    pub fn cut(&self) {
        self.cut.cancel();
    }
    /// Resolves when the call is to end without an answer.
    pub async fn was_cut(&self) {
        self.cut.cancelled().await;
    }
    /// The call's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
    /// Tells all that works for this call that it is over.
    pub fn end(&self) {
        self.ended.cancel();
    }
    fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }
    /// Resolves when the call is over.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
    /// Remembers a refusal for the call's answer.
    pub fn saw(&self, denial: SeenDenial) {
        if let Ok(mut denials) = self.denials.lock()
            && denials.len() < DENIALS_KEPT
        {
            denials.push(denial);
        }
    }
    /// All refusals seen so far.
    #[must_use]
    pub fn denials(&self) -> Vec<SeenDenial> {
        self.denials.lock().map(|d| d.clone()).unwrap_or_default()
    }
}

/// The place of one call, made with its spare and filled when the call begins.
/// Connections that the spare's processes make hold it from accept on.
#[derive(Debug, Default)]
pub struct CallSlot(OnceLock<Arc<Invocation>>);

impl CallSlot {
    /// Fills the slot; a slot serves one call only.
    pub fn begin(&self, invocation: Arc<Invocation>) -> bool {
        self.0.set(invocation).is_ok()
    }
    /// The call that runs here, if it has begun.
    #[must_use]
    pub fn invocation(&self) -> Option<&Arc<Invocation>> {
        self.0.get()
    }
}

/// The calls of one component that run now.
#[derive(Debug, Default)]
pub struct Running(Mutex<Vec<Weak<Invocation>>>);

impl Running {
    /// Adds a call that begins, and forgets those that have ended.
    pub fn begins(&self, invocation: &Arc<Invocation>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|call| call.upgrade().is_some_and(|call| !call.is_over()));
        calls.push(Arc::downgrade(invocation));
    }

    /// The call that runs, where it is the only one.
    fn only(&self) -> Option<Arc<Invocation>> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = calls
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|call| !call.is_over());
        let first = running.next()?;
        running.next().is_none().then_some(first)
    }
}

/// For whom a connection was made.
#[derive(Debug, Clone)]
pub enum Behalf {
    /// For the call whose process connected.
    Call(Arc<CallSlot>),
    /// The guest's worker connected, for whichever process of the component asked it.
    Component(Arc<Running>),
    /// Nothing can be said.
    Nobody,
}

/// The component that asks, fixed for the life of a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Arc<Identity>,
    peer: Peer,
    behalf: Behalf,
    presence: Presence,
}

/// What the listener knows: shared by all connections of one socket.
#[derive(Debug)]
pub struct Identity {
    component: ComponentId,
    base: Base,
    container: OnceLock<String>,
    shares: Shares,
    upstreams: Arc<outbound::Pool>,
    answers: outbound::Answers,
    refusals: Throttle,
}

impl Identity {
    /// Made once for each listener.
    #[must_use]
    pub fn new(component: ComponentId, base: Base, shares: Shares) -> Self {
        Self {
            component,
            base,
            shares,
            upstreams: Arc::default(),
            answers: outbound::Answers::default(),
            container: OnceLock::new(),
            refusals: Throttle::default(),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn component(&self) -> &ComponentId {
        &self.component
    }

    /// What it may have at once.
    #[must_use]
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Says which container the socket was bound for, once that is known.
    pub fn enter(&self, container: &str) {
        self.container.get_or_init(|| container.to_owned());
    }
}

impl Caller {
    /// A caller for one accepted connection.
    #[must_use]
    pub fn new(identity: Arc<Identity>, peer: Peer, behalf: Behalf) -> Self {
        Self {
            identity,
            peer,
            behalf,
            presence: Presence::default(),
        }
    }
    /// The same for a request that runs apart from whoever asks; he holds the other half for as long
    /// as he waits for it.
    #[must_use]
    pub fn apart(&self) -> (Self, DropGuard) {
        let (presence, here) = Presence::apart();
        let caller = Self {
            presence,
            ..self.clone()
        };
        (caller, here)
    }
    /// The same for a request of the kernel's, in which the process waits.
    #[must_use]
    pub fn in_kernel(self) -> Self {
        Self {
            presence: Presence::InKernel(self.peer.pid),
            ..self
        }
    }
    /// Resolves when nobody waits for the answer any more, where that can be seen.
    pub async fn left(&self) {
        self.presence.left().await;
    }
    /// The component whose socket this is.
    #[must_use]
    pub fn component(&self) -> &ComponentId {
        &self.identity.component
    }
    /// The image that the component's pack stands on, and its commands run in.
    #[must_use]
    pub fn base(&self) -> Base {
        self.identity.base
    }
    /// The container the socket was made for.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        self.identity.container.get().map(String::as_str)
    }
    /// Waits until the component may begin one more effect. The place is kept by the
    /// effect and not by whoever asked for it, who may go away and ask again.
    pub async fn place_for(&self, permission: &PermissionName) -> Option<Place> {
        let places = match permission {
            PermissionName::BuiltIn(Permission::Terminal) => &self.identity.shares.commands,
            _ => &self.identity.shares.effects,
        };
        places.wait().await
    }
    /// A place for what stays open to the network, if one is free: waiting would only move the
    /// queue into the broker.
    pub fn place_for_tunnel(&self) -> Option<Place> {
        self.identity.shares.tunnels.take()
    }
    /// Connections to servers that the component may use again.
    pub(crate) fn upstreams(&self) -> &Arc<outbound::Pool> {
        &self.identity.upstreams
    }
    /// What name servers said to the component.
    pub(crate) fn answers(&self) -> &outbound::Answers {
        &self.identity.answers
    }
    /// A place for one more terminal, where there is one. It is no longer a connection that the
    /// listener counts.
    #[must_use]
    pub fn session(&self) -> Option<Place> {
        self.identity.shares.terminals.take()
    }
    /// The pace at which the component may be refused, over all its connections.
    #[must_use]
    pub fn refusals(&self) -> &Throttle {
        &self.identity.refusals
    }
    /// The process that connected.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
    /// Handlers that this caller's call has come through.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.invocation().map_or(0, |invocation| invocation.depth)
    }
    /// The call on whose behalf a request is made, where that is known. What comes by way of the guest's
    /// worker belongs to the one call that runs; of several nobody can tell which it was.
    #[must_use]
    pub fn invocation(&self) -> Option<Arc<Invocation>> {
        match &self.behalf {
            Behalf::Call(slot) => slot.invocation().map(Arc::clone),
            Behalf::Component(running) => running.only(),
            Behalf::Nobody => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_by_the_worker_belongs_to_the_only_call_that_runs() {
        let running = Arc::new(Running::default());
        let component: ComponentId = "words:tool:count".parse().unwrap();
        let behalf = Behalf::Component(Arc::clone(&running));
        let identity = Arc::new(Identity::new(
            component,
            Base::default(),
            crate::shares::PackShares::new(&crate::config::Config::default(), 1).component(),
        ));
        let caller = Caller::new(identity, Peer { uid: 1, pid: 1 }, behalf);
        let asked = || caller.invocation().map(|call| call.id().to_owned());
        assert_eq!(asked(), None);
        let calls = [(); 3].map(|()| Arc::new(Invocation::new()));
        running.begins(&calls[0]);
        assert_eq!(asked().as_deref(), Some(calls[0].id()));
        running.begins(&calls[1]);
        assert_eq!(asked(), None, "nobody can tell which of two it was");
        calls[0].end();
        assert_eq!(asked().as_deref(), Some(calls[1].id()));
        calls[1].end();
        assert_eq!(asked(), None);
        running.begins(&calls[2]);
        assert_eq!(asked().as_deref(), Some(calls[2].id()));
        drop(calls);
        assert_eq!(asked(), None, "a call that was dropped never ends");
    }
}
