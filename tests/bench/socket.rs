//! gRPC over a Unix socket.

use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;

/// Window of a stream and of a connection: small ones decide a download's speed.
const WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes of one HTTP/2 frame.
const FRAME: u32 = 1024 * 1024;

/// A connection; every side of a comparison is given the same settings.
pub async fn channel(path: &Path) -> Result<Channel, Failure> {
    let path = path.to_owned();
    let endpoint = Endpoint::from_static("http://localhost")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME);
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector(connect).await?)
}
