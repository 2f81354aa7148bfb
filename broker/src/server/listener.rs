//! A component's socket: bound for its uid alone, each peer checked at accept.

use std::{
    fs,
    future::poll_fn,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rumi_audit::Peer;
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{corked::Corked, route::Routes};
use crate::{
    broker::Broker,
    caller::{Caller, Identity},
    capabilities::Connection,
    shares::Place,
    workers::{Pool, WorkerConnection},
};

/// How long a peer may stay silent before its first request is whole.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long the last bytes of an ended connection may wait for their reader.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// References to the count of requests when there is none: this task's and the service's.
const IDLE: usize = 2;
/// Requests in flight on one HTTP/2 connection. Clients begin with as many as 100 before they are
/// told how many they may have.
const MAX_STREAMS: u32 = 128;
/// Bytes that a stream may send ahead. Those that wait for their turn must not use up the
/// connection's window, or those that have it could not go on.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Why a component's socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The socket could not be made.
    #[error("cannot make the socket `{path}`; is its directory there and root's?")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
}

/// A bound socket that is being served until it is dropped.
#[derive(Debug)]
pub struct Listener {
    stop: CancellationToken,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Listener {
    /// Binds `path` for `uid` and serves it on the request runtime.
    ///
    /// # Errors
    /// When the socket cannot be bound or given to the component.
    pub fn serve(
        broker: &Arc<Broker>,
        path: &Path,
        uid: u32,
        identity: Arc<Identity>,
        pool: Arc<Pool>,
    ) -> Result<Self, ListenerError> {
        let socket = bind(path, uid).map_err(|source| ListenerError::Bind {
            path: path.to_owned(),
            source,
        })?;
        let stop = CancellationToken::new();
        let accepting = Accept {
            broker: Arc::clone(broker),
            uid,
            identity,
            pool,
            stop: stop.clone(),
        };
        broker.requests_runtime().spawn(accepting.run(socket));
        Ok(Self { stop })
    }
}

/// Binds through the directory's file descriptor, because a path to a socket may not
/// be longer than 107 bytes and a state directory may be deep.
fn bind(path: &Path, uid: u32) -> io::Result<std::os::unix::net::UnixListener> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let handle = fs::File::open(directory)?;
    // The old broker's socket: nobody listens there, for this broker holds the state's lock.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&handle)
    ))
    .join(name);
    let socket = std::os::unix::net::UnixListener::bind(&short)?;
    std::os::unix::fs::chown(path, Some(uid), Some(uid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Accept {
    broker: Arc<Broker>,
    uid: u32,
    identity: Arc<Identity>,
    pool: Arc<Pool>,
    stop: CancellationToken,
}

impl Accept {
    async fn run(self, socket: std::os::unix::net::UnixListener) {
        let listener = match UnixListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot listen");
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be closed.
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// The listener is the identity; the peer's uid must be the component's all the same.
    fn admit(&self, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else {
            return;
        };
        if credentials.uid() != self.uid {
            tracing::warn!(
                component = %self.pool.component(),
                uid = credentials.uid(),
                "refused a peer whose uid is not the component's"
            );
            return;
        }
        let Some(slot) = self.identity.shares().connections.take() else {
            self.broker.counters().connections_refused();
            return;
        };
        let peer = Peer {
            uid: credentials.uid(),
            pid: credentials
                .pid()
                .and_then(|pid| u32::try_from(pid).ok())
                .unwrap_or(0),
        };
        let place = self.pool.place_of(peer.pid);
        let worker = WorkerConnection::new(
            Arc::clone(&self.pool),
            peer,
            &place,
            self.broker.background().clone(),
        );
        let behalf = self.pool.behalf_of(place);
        let caller = Caller::new(Arc::clone(&self.identity), peer, behalf);
        let routes = Arc::new(Routes::new(
            Connection::new(Arc::clone(&self.broker), caller),
            worker,
            Arc::clone(&self.identity),
        ));
        let stop = self.stop.clone();
        tokio::spawn(serve(stream, routes, stop, slot));
    }
}

async fn serve(stream: UnixStream, routes: Arc<Routes>, stop: CancellationToken, _slot: Place) {
    let spoken = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&spoken);
    // Each request that is under way holds one more reference.
    let under_way = Arc::new(());
    let counted = Arc::clone(&under_way);
    let service = service_fn(move |request| {
        seen.store(true, Ordering::Relaxed);
        let answered = routes.answer(request);
        let counted = Arc::clone(&counted);
        async move {
            let answered = answered.await;
            drop(counted);
            answered
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_REQUEST)
        .max_buf_size(256 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * MAX_STREAMS)
        .max_frame_size(1024 * 1024);
    let line = Corked::new(stream);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(line.clone()), service);
    let mut connection = pin!(connection);
    // Telling HTTP/1 from HTTP/2 has no time limit of its own; a silent peer would hold it for ever.
    let mut silence = pin!(tokio::time::sleep(FIRST_REQUEST));
    let mut stopped = pin!(stop.cancelled());
    let ended = poll_fn(|context| {
        let busy = || Arc::strong_count(&under_way) > IDLE;
        if let Poll::Ready(ended) = line.poll_turn(connection.as_mut(), busy, context) {
            return Poll::Ready(ended.map(Some));
        }
        let silent = !spoken.load(Ordering::Relaxed) && silence.as_mut().poll(context).is_ready();
        if silent || stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    });
    match ended.await {
        Ok(Some(Ok(()))) => {}
        Ok(Some(Err(error))) => tracing::debug!(%error, "a connection ended early"),
        Ok(None) => return,
        Err(error) => return tracing::debug!(%error, "a peer went away"),
    }
    let rest = poll_fn(|context| line.poll_rest(context));
    match timeout(LAST_BYTES, rest).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a peer went away"),
        Err(_) => tracing::debug!("a peer does not read the last of its replies"),
    }
}
