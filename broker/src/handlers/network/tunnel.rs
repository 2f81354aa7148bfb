//! `CONNECT`: bytes passed on to an address that was judged, for as long as the policy would open it again.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use rumi_audit::Recorded;
use rumi_policy::{Confirmed, Hello, Permit, Scheme, Tunnel, TunnelForm, TunnelFound};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::Instant,
};

use super::{fetch_failure, look_up, revoked};
use crate::{
    lease::Lease,
    outbound::{self, Counted, HelloError, Traffic},
    pipeline::{Context, Handler, Performed},
    refusal::{Failure, Refusal},
};

/// How long the component may take to say its first word.
const HELLO: Duration = Duration::from_secs(10);

/// Serves HTTP inside a tunnel whose host and port are fixed: each request is a request of its own.
pub trait Inside: Send {
    /// Serves until the component ends the connection.
    fn serve<S>(self, stream: S, scheme: Scheme) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static;
}

/// Bytes both ways.
pub trait Bidirectional: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bidirectional for S {}

/// The component's end of a tunnel.
pub type NearStream = Box<dyn Bidirectional>;

/// The component's end of a tunnel, once it was told that the tunnel is open; nothing if it went away.
pub struct Near(Pin<Box<dyn Future<Output = Option<NearStream>> + Send>>);

impl Near {
    /// One that resolves as this does.
    pub fn new(stream: impl Future<Output = Option<NearStream>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl fmt::Debug for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near").finish_non_exhaustive()
    }
}

/// Serves one tunnel.
#[derive(Debug)]
pub struct TunnelHandler<I> {
    /// Told when the component may be answered that its tunnel is open.
    pub opened: oneshot::Sender<()>,
    /// Its end of the tunnel, once it was answered.
    pub near: Near,
    /// What serves plain HTTP inside.
    pub inside: I,
}

/// What `find` leaves for `perform`.
pub enum Opening {
    /// Nobody was answered yet.
    Waiting(oneshot::Sender<()>, Near),
    /// The component has said this much.
    Begun(NearStream, Vec<u8>),
}

impl<I> TunnelHandler<I> {
    fn opening(&mut self) -> Opening {
        // The handler's own are spent here; nothing is ever told through what replaces them.
        let opened = std::mem::replace(&mut self.opened, oneshot::channel().0);
        let near = std::mem::replace(&mut self.near, Near::new(std::future::ready(None)));
        Opening::Waiting(opened, near)
    }
}

impl Opening {
    /// Answers the component, where nobody has yet.
    async fn begin(self) -> Result<(NearStream, Vec<u8>), Refusal> {
        let (opened, near) = match self {
            Self::Begun(stream, ahead) => return Ok((stream, ahead)),
            Self::Waiting(opened, near) => (opened, near),
        };
        let gone = || {
            Refusal::failed(
                Failure::Unavailable,
                "the component went away before its tunnel was open",
            )
        };
        opened.send(()).map_err(|()| gone())?;
        let stream = tokio::time::timeout(HELLO, near.0).await;
        let stream = stream.ok().flatten().ok_or_else(gone)?;
        Ok((stream, Vec::new()))
    }
}

impl<I: Inside> Handler<Tunnel> for TunnelHandler<I> {
    type Handle = Opening;
    type Reply = ();

    async fn find(
        &mut self,
        context: Context<'_>,
        permit: &Recorded<Permit<Tunnel>>,
    ) -> Result<(TunnelFound, Opening), Refusal> {
        let permit = permit.get();
        let network = look_up(context, permit.ask().host()).await?;
        let opening = self.opening();
        // Addresses that will be refused are refused before anybody is told that a tunnel is open.
        let heard =
            permit.terms().form().begins_with_hello() && permit.check_addresses(&network).is_ok();
        if !heard {
            let hello = Hello::Unread;
            return Ok((TunnelFound { network, hello }, opening));
        }
        let (mut stream, _) = opening.begin().await?;
        let (hello, ahead) = outbound::read_hello(&mut stream, Instant::now() + HELLO)
            .await
            .map_err(|error| {
                let code = match error {
                    HelloError::Timeout => Failure::Timeout,
                    HelloError::Closed(_) => Failure::Unavailable,
                };
                Refusal::failed(code, error.to_string())
            })?;
        let found = TunnelFound { network, hello };
        Ok((found, Opening::Begun(stream, ahead)))
    }

    async fn perform(
        self,
        context: Context<'_>,
        permit: &Recorded<Confirmed<Tunnel>>,
        opening: Opening,
    ) -> Performed<()> {
        let confirmed = permit.get();
        let form = confirmed.terms().form();
        let traffic = Arc::new(Traffic::default());
        let mut lease = Lease::<Tunnel>::new(
            context.broker.policy(),
            context.caller.component(),
            confirmed.ask().open_as(form),
        );
        let begun = Instant::now();
        let passing = self.pass(context, confirmed, opening, Arc::clone(&traffic));
        let result = tokio::select! {
            biased;
            denial = lease.revoked() => Err(revoked(denial, permit.id().to_string())),
            passed = passing => passed,
        };
        let lasted = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Performed {
            result,
            bytes_in: traffic.pack_sent(),
            bytes_out: traffic.pack_got(),
            detail: Some(serde_json::json!({ "form": form.as_str(), "duration_ms": lasted })),
        }
    }
}

impl<I: Inside> TunnelHandler<I> {
    async fn pass(
        self,
        context: Context<'_>,
        confirmed: &Confirmed<Tunnel>,
        opening: Opening,
        traffic: Arc<Traffic>,
    ) -> Result<(), Refusal> {
        let terms = confirmed.terms();
        let idle = context.broker.config().network.idle_timeout_ms.duration();
        if terms.form() == TunnelForm::Http {
            let (stream, ahead) = opening.begin().await?;
            let near = Counted::new(stream, ahead, Arc::clone(&traffic));
            return tokio::select! {
                () = self.inside.serve(near, Scheme::Http) => Ok(()),
                // A client that does not read holds its replies up, and would hold its place for ever.
                () = traffic.silence(idle) => Err(silent()),
            };
        }
        if terms.form() == TunnelForm::Intercepted {
            return self.intercept(context, confirmed, opening, &traffic).await;
        }
        let until = Instant::now() + Duration::from_millis(terms.timeout_ms());
        let far = outbound::dial(confirmed.facts(), until)
            .await
            .map_err(|error| fetch_failure(&error.into()))?;
        outbound::keep_alive(&far);
        let (stream, ahead) = opening.begin().await?;
        let near = Counted::new(stream, ahead, Arc::clone(&traffic));
        let passed = outbound::splice(near, far, &traffic, idle).await;
        passed.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => silent(),
            _ => Refusal::failed(Failure::Unavailable, format!("the tunnel broke: {error}")),
        })
    }

    /// Ends the component's TLS here. Each request inside is decided on its own, and goes out over TLS of the
    /// broker's, which believes the broker's roots and no authority of a component.
    async fn intercept(
        self,
        context: Context<'_>,
        confirmed: &Confirmed<Tunnel>,
        opening: Opening,
        traffic: &Arc<Traffic>,
    ) -> Result<(), Refusal> {
        let idle = context.broker.config().network.idle_timeout_ms.duration();
        let host = confirmed.ask().host();
        let (component, bundles) = (context.caller.component(), context.broker.bundles());
        let acceptor = bundles.acceptor(component, host).map_err(|error| {
            tracing::error!(%component, %error, "a tunnel cannot be intercepted");
            Refusal::failed(
                Failure::Internal,
                format!("the broker has no certificate for `{host}`; its log says why"),
            )
        })?;
        let (stream, ahead) = opening.begin().await?;
        let near = Counted::new(stream, ahead, Arc::clone(traffic));
        let shaken = tokio::time::timeout(HELLO, acceptor.accept(near)).await;
        let stream = shaken.ok().and_then(Result::ok).ok_or_else(|| {
            Refusal::failed(
                Failure::Unavailable,
                "the TLS handshake with the component failed; does its program trust the bundle that SSL_CERT_FILE names?",
            )
        })?;
        tokio::select! {
            () = self.inside.serve(stream, Scheme::Https) => Ok(()),
            () = traffic.silence(idle) => Err(silent()),
        }
    }
}

fn silent() -> Refusal {
    Refusal::failed(
        Failure::Timeout,
        "nothing passed through the tunnel for too long",
    )
}
