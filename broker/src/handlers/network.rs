//! `network`: requests and tunnels, to addresses that were judged.

mod forward;
mod injected;
mod resolve;
mod tunnel;

use std::time::Duration;

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, Denial, Host, Network, NetworkFound, Permit, Reason};
use tokio::time::{Instant, timeout_at};

use crate::{
    freight::Freight,
    lease::Lease,
    outbound::{self, FetchError, FetchFailure, Limits, Payload, Reply, ResolveError},
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

pub use forward::{ForwardHandler, Passed};
pub use resolve::ResolveHandler;
pub use tunnel::{Inside, Near, NearStream, TunnelHandler};

/// Serves one `NetworkFetch`.
#[derive(Debug)]
pub struct FetchHandler {
    /// Headers and body, already checked.
    pub payload: Payload,
    /// How long the whole exchange may take, from when it is allowed.
    pub timeout: Duration,
    /// Where the reply finds room.
    pub freight: Option<Freight>,
}

impl Handler<Network> for FetchHandler {
    /// When it must be over.
    type Handle = Instant;
    type Reply = Reply;

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Network>>,
    ) -> Result<(NetworkFound, Instant), Refusal> {
        let deadline = Instant::now() + self.timeout;
        let found = look_up(context, permit.get().ask().host()).await?;
        Ok((found, deadline))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Network>>,
        deadline: Instant,
    ) -> Performed<Reply> {
        let mut lease = Lease::<Network>::new(
            context.broker.policy(),
            context.caller.component(),
            permit.get().ask().clone(),
        );
        tokio::select! {
            // What was taken back during the look-up gets no secret and no connection.
            biased;
            denial = lease.revoked() => {
                Performed::plain(Err(revoked(denial, permit.id().to_string())))
            }
            performed = self.fetch(context, permit.get(), deadline) => performed,
        }
    }
}

impl FetchHandler {
    async fn fetch(
        mut self,
        context: Context<'_>,
        confirmed: &Confirmed<Network>,
        deadline: Instant,
    ) -> Performed<Reply> {
        let headers = self.payload.headers_mut();
        let carried = match injected::complete(context, confirmed, headers) {
            Ok(carried) => carried,
            Err(incomplete) => {
                return Performed {
                    detail: Some(incomplete.detail),
                    ..Performed::plain(Err(incomplete.refusal))
                };
            }
        };
        let bytes_in = u64::try_from(self.payload.body_bytes()).unwrap_or(u64::MAX);
        let body_bytes = context.broker.config().network.max_response.bytes();
        // Nobody knows how much will come, and so there is room for as much as may.
        if let Some(freight) = &self.freight
            && timeout_at(deadline, freight.goes(body_bytes))
                .await
                .is_err()
        {
            return Performed::plain(Err(Refusal::failed(
                Failure::Timeout,
                "the pack had as many bytes under way as it may for all of the request's time",
            )));
        }
        let limits = Limits {
            deadline,
            body_bytes,
        };
        let tls = context.broker.tls();
        let mut fetched = outbound::fetch(tls, confirmed, self.payload, limits).await;
        if let Ok(reply) = &mut fetched {
            carried.redact_reply(reply);
        }
        let result = fetched.map_err(|error| fetch_failure(&error));
        let reply = result.as_ref().ok();
        Performed {
            bytes_in,
            bytes_out: reply.map_or(0, |r| u64::try_from(r.body.len()).unwrap_or(u64::MAX)),
            detail: reply
                .map(|r| injected::noted(serde_json::json!({ "status": r.status }), &carried)),
            result,
        }
    }
}

/// What was open is no longer allowed.
fn revoked(denial: Denial, record: String) -> Refusal {
    Refusal::Denied {
        reason: Reason::Revoked,
        sentence: denial.sentence,
        record,
    }
}

fn fetch_failure(error: &FetchError) -> Refusal {
    let code = match error.kind() {
        FetchFailure::Timeout => Failure::Timeout,
        FetchFailure::TooLarge => Failure::TooLarge,
        FetchFailure::Unavailable => Failure::Unavailable,
    };
    Refusal::failed(code, error.to_string())
}

/// Resolves a host, and reads what its addresses are judged by.
pub(super) async fn look_up(context: Context<'_>, host: &Host) -> Result<NetworkFound, Refusal> {
    let resolver = context.broker.resolver();
    // A look-up tells the name to others: it happens only once it is allowed and recorded.
    let answers = context.caller.answers();
    let addresses = match answers.get(host) {
        Some(addresses) => addresses,
        None => {
            let answer = resolver.resolve(host).await.map_err(|error| {
                let code = match error {
                    ResolveError::Timeout { .. } => Failure::Timeout,
                    _ => Failure::Unavailable,
                };
                Refusal::failed(code, error.to_string())
            })?;
            answers.keep(host, &answer);
            answer.addresses
        }
    };
    let own = outbound::own_addresses(resolver, &addresses).map_err(|error| {
        tracing::error!(%error, "the host's own addresses cannot be read");
        Refusal::failed(
            Failure::Internal,
            "the host's own addresses cannot be read, so no address can be judged",
        )
    })?;
    Ok(NetworkFound {
        addresses,
        own,
        exceptions: context.broker.exceptions().to_vec(),
    })
}
