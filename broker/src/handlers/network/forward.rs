//! One HTTP request of unmodified software, whose bodies stream both ways.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rumi_audit::Recorded;
use rumi_policy::{Confirmed, Network, NetworkFound, Permit};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tonic::Status;

use super::{fetch_failure, injected, look_up, revoked};
use crate::{
    lease::Lease,
    outbound::{self, Exchanged, Line, Route, Traffic},
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// Pieces of a body that wait for a slow reader.
const QUEUE: usize = 2;
/// How long a connection may take to become ready for another request once a reply is complete.
const SETTLE: Duration = Duration::from_millis(100);

/// Serves one proxied request.
#[derive(Debug)]
pub struct ForwardHandler {
    /// Headers that are meant for the server.
    pub headers: HeaderMap,
    /// What the component sends.
    pub body: Incoming,
    /// Told the head of the reply, once there is one.
    pub reply: oneshot::Sender<Response<Passed>>,
}

/// The body of a reply on its way to the component.
#[derive(Debug)]
pub struct Passed {
    pieces: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
}

impl Body for Passed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match ready!(self.pieces.poll_recv(context)) {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.whole.load(Ordering::Acquire) => Poll::Ready(None),
            // A body that was cut must not look as if it had ended.
            None => Poll::Ready(Some(Err(Status::aborted("the reply was cut")))),
        }
    }
}

impl Handler<Network> for ForwardHandler {
    type Handle = ();
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Network>>,
    ) -> Result<(NetworkFound, ()), Refusal> {
        let found = look_up(context, permit.get().ask().host()).await?;
        Ok((found, ()))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Network>>,
        (): (),
    ) -> Performed<()> {
        let confirmed = permit.get();
        let traffic = Arc::new(Traffic::default());
        let mut lease = Lease::<Network>::new(
            context.broker.policy(),
            context.caller.component(),
            confirmed.ask().clone(),
        );
        let mut detail = None;
        let exchange = self.exchange(context, confirmed, &traffic, &mut detail);
        let result = tokio::select! {
            biased;
            denial = lease.revoked() => Err(revoked(denial, permit.id().to_string())),
            exchanged = exchange => exchanged,
        };
        Performed {
            result,
            bytes_in: traffic.pack_sent(),
            bytes_out: traffic.pack_got(),
            detail,
        }
    }
}

impl ForwardHandler {
    async fn exchange(
        mut self,
        context: Context<'_>,
        confirmed: &Confirmed<Network>,
        traffic: &Arc<Traffic>,
        detail: &mut Option<serde_json::Value>,
    ) -> Result<(), Refusal> {
        let (ask, terms) = (confirmed.ask(), confirmed.terms());
        let patience = Duration::from_millis(terms.timeout_ms());
        let carried = match injected::complete(context, confirmed, &mut self.headers) {
            Ok(carried) => carried,
            Err(incomplete) => {
                *detail = Some(incomplete.detail);
                return Err(incomplete.refusal);
            }
        };
        let reusable = outbound::is_reusable(ask, &self.headers, &self.body);
        let mut reply_to = self.reply;
        let request = outbound::upload(ask, self.headers, self.body, traffic);
        let request = request.map_err(|error| fetch_failure(&error))?;
        let pool = context.caller.upstreams();
        let policy = confirmed.policy();
        let addresses = confirmed.facts().addresses();
        let kept = pool.take(policy, &Route::of(ask), addresses);
        let fresh = async || {
            let until = Instant::now() + patience;
            outbound::open(context.broker.tls(), confirmed, until).await
        };
        let exchange = outbound::exchange(ask, kept, fresh, request, traffic, patience);
        // A request inside a tunnel has no place of its own: it must not outlive its client.
        let exchanged = tokio::select! {
            biased;
            () = reply_to.closed() => return Err(gone()),
            exchanged = exchange => exchanged,
        };
        let Exchanged { line, response } = exchanged.map_err(|error| fetch_failure(&error))?;
        let status = serde_json::json!({ "status": response.status().as_u16() });
        *detail = Some(injected::noted(status, &carried));
        let limit = terms.max_response_bytes();
        if response.body().size_hint().lower() > limit {
            return Err(too_large(ask, limit));
        }
        let (mut head, body) = response.into_parts();
        outbound::strip(&mut head.headers);
        carried.redact(&mut head.headers);
        for name in ["rumi-reason", "rumi-record"] {
            head.headers.remove(name);
        }
        let reusable = reusable && !head.headers.contains_key(header::WWW_AUTHENTICATE);
        let (pieces, queue) = mpsc::channel(QUEUE);
        let whole = Arc::new(AtomicBool::new(false));
        let passed = Passed {
            pieces: queue,
            whole: Arc::clone(&whole),
        };
        let mut reply = Response::new(passed);
        *reply.status_mut() = head.status;
        *reply.headers_mut() = head.headers;
        reply_to.send(reply).map_err(|_| gone())?;
        let idle = context.broker.config().network.idle_timeout_ms.duration();
        let passing = Passing {
            pieces,
            limit,
            idle,
        };
        passing.pass(ask, body, traffic).await?;
        whole.store(true, Ordering::Release);
        drop(passing);
        if reusable {
            settle(context, line, policy).await;
        }
        Ok(())
    }
}

/// Lets the connection wait for the next request, if it is ready for one.
async fn settle(context: Context<'_>, mut line: Line, policy: rumi_policy::PolicyHash) {
    if matches!(timeout(SETTLE, line.ready()).await, Ok(true)) {
        let pool = context.caller.upstreams();
        pool.keep(context.broker.policy(), policy, line);
    }
}

struct Passing {
    pieces: mpsc::Sender<Bytes>,
    limit: u64,
    idle: Duration,
}

impl Passing {
    async fn pass(
        &self,
        ask: &rumi_policy::NetworkAsk,
        body: Incoming,
        traffic: &Traffic,
    ) -> Result<(), Refusal> {
        let mut body = pin!(body);
        let silent = |_| {
            let message = format!(
                "nothing more passed between `{}` and its client",
                ask.authority()
            );
            Refusal::failed(Failure::Timeout, message)
        };
        let mut left = self.limit;
        // The client's side is let go of as soon as the announced length is there, which is before the server's end is seen.
        while !body.is_end_stream() {
            let frame = tokio::select! {
                biased;
                frame = timeout(self.idle, body.frame()) => frame.map_err(silent)?,
                () = self.pieces.closed() => return Err(gone()),
            };
            let Some(frame) = frame else {
                break;
            };
            let frame = frame.map_err(|error| {
                let message = format!("`{}` broke its reply off: {error}", ask.authority());
                Refusal::failed(Failure::Unavailable, message)
            })?;
            // Trailers come after everything that could have been decided by them.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let size = piece.len() as u64;
            left = left
                .checked_sub(size)
                .ok_or_else(|| too_large(ask, self.limit))?;
            let length = piece.len();
            let sent = timeout(self.idle, self.pieces.send(piece)).await;
            sent.map_err(silent)?.map_err(|_| gone())?;
            traffic.gave(length);
        }
        Ok(())
    }
}

fn too_large(ask: &rumi_policy::NetworkAsk, limit: u64) -> Refusal {
    let message = format!(
        "the reply of `{}` is larger than the {limit} bytes that the grant's `max_response_bytes` allows",
        ask.authority()
    );
    Refusal::failed(Failure::TooLarge, message)
}

fn gone() -> Refusal {
    Refusal::failed(Failure::Unavailable, "the component went away")
}
