//! Requests that take their time run as tasks of their own.

use std::sync::Arc;

use rumi_policy::Capability;
use rumi_proto::v1;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use super::Connection;
use crate::{
    caller::Caller,
    command::{Collected, Outcome, Stopped},
    outbound::Reply,
    pipeline::{self, Handler},
    refusal::{Failure, Refusal},
};

impl Connection {
    /// Takes a request all the way even when the one who asked goes away meanwhile, and
    /// on the background runtime, so that small requests are not held up.
    pub(super) async fn detached<C, H>(&self, ask: C::Ask, handler: H) -> Result<H::Reply, Refusal>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        let place = self.caller.place_for(&C::permission(&ask)).await;
        self.apart(ask, handler, place).await
    }

    /// Takes a request all the way on the background runtime, keeping `place` until then.
    pub(super) async fn apart<C, H>(
        &self,
        ask: C::Ask,
        handler: H,
        place: impl Send + 'static,
    ) -> Result<H::Reply, Refusal>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        // What waits for the admin is withdrawn with the one who asked; what has begun is not.
        let (caller, _here) = self.caller.apart();
        self.spawned_for(caller, ask, handler, place)
            .await
            .unwrap_or_else(|error| Err(panicked(&error)))
    }

    /// Takes a request that changes nothing all the way on the background runtime, as long as somebody waits for it.
    pub(super) async fn while_wanted<C, H>(
        &self,
        ask: C::Ask,
        handler: H,
    ) -> Result<H::Reply, Refusal>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        AbortOnDropHandle::new(self.spawned(ask, handler, ()))
            .await
            .unwrap_or_else(|error| Err(panicked(&error)))
    }

    /// A task of its own for the request, which keeps `place` until its end.
    pub(super) fn spawned<C, H>(
        &self,
        ask: C::Ask,
        handler: H,
        place: impl Send + 'static,
    ) -> JoinHandle<Result<H::Reply, Refusal>>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        self.spawned_for(self.caller.clone(), ask, handler, place)
    }

    fn spawned_for<C, H>(
        &self,
        caller: Caller,
        ask: C::Ask,
        handler: H,
        place: impl Send + 'static,
    ) -> JoinHandle<Result<H::Reply, Refusal>>
    where
        C: Capability,
        H: Handler<C> + 'static,
        H::Reply: 'static,
    {
        let broker = Arc::clone(&self.broker);
        self.broker.background().spawn(async move {
            let done = pipeline::run(&broker, &caller, ask, handler).await;
            drop(place);
            done
        })
    }
}

fn panicked(error: &JoinError) -> Refusal {
    tracing::error!(%error, "a request ended in a panic");
    Refusal::failed(
        Failure::Internal,
        "the broker failed on this request; its log says why",
    )
}

/// Why a command ended, on the wire.
pub(super) fn stopped_reason(stopped: Option<Stopped>) -> v1::StoppedReason {
    match stopped {
        None => v1::StoppedReason::Exited,
        Some(Stopped::Timeout) => v1::StoppedReason::Timeout,
        Some(Stopped::OutOfMemory) => v1::StoppedReason::Memory,
        Some(Stopped::OutputLimit) => v1::StoppedReason::Output,
        Some(Stopped::Signal) => v1::StoppedReason::Signal,
        Some(Stopped::ByAdmin) => v1::StoppedReason::Stopped,
        // Nobody reads the reply of a command that nobody waits for.
        Some(Stopped::Revoked | Stopped::Disconnected) => v1::StoppedReason::Revoked,
    }
}

/// What a command left behind.
pub(super) fn terminal_reply(outcome: Outcome, said: Collected) -> v1::TerminalRunResponse {
    v1::TerminalRunResponse {
        exit_code: i32::try_from(outcome.exit_code).unwrap_or(i32::MAX),
        stdout: said.stdout.into(),
        stderr: said.stderr.into(),
        truncated: outcome.truncated,
        stopped_reason: stopped_reason(outcome.stopped).into(),
        duration_ms: millis(outcome.duration),
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What came back from the network.
pub(super) fn network_reply(reply: Reply) -> v1::NetworkFetchResponse {
    v1::NetworkFetchResponse {
        status: u32::from(reply.status),
        headers: reply
            .headers
            .into_iter()
            .map(|(name, value)| v1::Header { name, value })
            .collect(),
        body: reply.body,
    }
}
