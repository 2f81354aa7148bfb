//! One server on a component's socket: gRPC, the Connect protocol's JSON form,
//! plain bodies for bulk, the proxy forms of unmodified software, and the upgrade of a spare.

mod bulk;
mod connect;
mod corked;
mod listener;
mod metered;
mod near;
mod proxy;
mod route;
mod spare;
mod terminal;

pub use listener::{Listener, ListenerError};

/// Reads HTTP/1.1 as a component's socket does, from bytes that are all there, and says of each request what
/// it asks a proxy for, and nothing of one that is for the broker itself. Nothing is asked of the policy and nothing is done.
pub(crate) async fn proxied(bytes: &[u8]) -> Vec<Option<Result<String, rumi_policy::Denial>>> {
    let read = std::sync::Mutex::new(Vec::new());
    let service = hyper::service::service_fn(|request| {
        let mut read = read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        read.push(proxy::read(request));
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
            http_body_util::Empty::<bytes::Bytes>::new(),
        )))
    });
    let peer = hyper_util::rt::TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    let served = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(peer, service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "the bytes end, or are no HTTP");
    }
    read.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
