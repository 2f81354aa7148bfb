//! What unmodified software asks for through the proxy.

use std::sync::Arc;

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use rumi_policy::{Capability, Denial, NetworkAsk, Reason, TunnelAsk};
use tokio::sync::oneshot;

use super::Connection;
use crate::{
    handlers::{ForwardHandler, Inside, Near, Passed, TunnelHandler},
    pipeline::{self, Handler},
    refusal::{Failure, Refusal},
    shares::Place,
};

/// Whether a request needs a place among those of its component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Own,
    /// The tunnel that it came through has one.
    Tunnel,
}

impl Connection {
    /// Records that a proxy request could not be understood.
    pub(crate) async fn misspoken(&self, action: &'static str, denial: Denial) -> Refusal {
        self.malformed("network", action, denial).await
    }

    /// Opens a tunnel. Returns once the component may be told that it is open; the tunnel itself
    /// lives on the background runtime.
    pub(crate) async fn tunnel<I: Inside + 'static>(
        &self,
        ask: TunnelAsk,
        near: Near,
        inside: I,
    ) -> Result<(), Refusal> {
        let place = Some(self.room::<rumi_policy::Tunnel>(&ask).await?);
        let (sender, opened) = oneshot::channel();
        let handler = TunnelHandler {
            opened: sender,
            near,
            inside,
        };
        self.begin(ask, handler, place, opened).await
    }

    /// Passes a request on. Returns with the head of its reply; the body follows from the
    /// background runtime.
    pub(crate) async fn forward(
        &self,
        ask: NetworkAsk,
        headers: HeaderMap,
        body: Incoming,
        room: Room,
    ) -> Result<Response<Passed>, Refusal> {
        let place = match room {
            Room::Own => Some(self.room::<rumi_policy::Network>(&ask).await?),
            Room::Tunnel => None,
        };
        let (sender, reply) = oneshot::channel();
        let handler = ForwardHandler {
            headers,
            body,
            reply: sender,
        };
        self.begin(ask, handler, place, reply).await
    }

    async fn room<C: Capability>(&self, ask: &C::Ask) -> Result<Place, Refusal> {
        if let Some(place) = self.caller.place_for_tunnel() {
            return Ok(place);
        }
        let denial = Denial::new(
            Reason::Quota,
            "this pack has as many tunnels and requests open as it may; close some first",
        );
        Err(pipeline::turned_away::<C>(&self.broker, &self.caller, ask, denial).await)
    }

    /// Runs a request on the background runtime and returns with the first thing it has to say.
    async fn begin<C, H, T>(
        &self,
        ask: C::Ask,
        handler: H,
        place: Option<Place>,
        first: oneshot::Receiver<T>,
    ) -> Result<T, Refusal>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        let broker = Arc::clone(&self.broker);
        // Dropped with the request: what waits for the admin is withdrawn then.
        let (caller, _here) = self.caller.apart();
        let task = self.broker.background().spawn(async move {
            let done = pipeline::run(&broker, &caller, ask, handler).await;
            drop(place);
            done
        });
        if let Ok(said) = first.await {
            return Ok(said);
        }
        match task.await {
            Ok(Err(refusal)) => Err(refusal),
            _ => Err(Refusal::failed(
                Failure::Internal,
                "the broker failed on this request; its log says why",
            )),
        }
    }
}
