//! A warm spare comes in: one HTTP/1.1 upgrade, then frames both ways.

use std::io;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::Status;

use super::{connect, metered::Metered, near};
use crate::workers::WorkerConnection;

/// Name of the protocol that follows the upgrade.
const PROTOCOL: &str = "rumi-spare";

/// Answers the upgrade and hands the stream to the component's pool, on the runtime that makes calls:
/// an answer that is announced to one thread and taken by another wakes both.
pub(super) fn upgrade(
    worker: &WorkerConnection,
    request: Request<Metered>,
) -> Response<Full<Bytes>> {
    let asked = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value == PROTOCOL);
    if !asked {
        return connect::error(&Status::failed_precondition(
            "a spare must ask for `Upgrade: rumi-spare`",
        ));
    }
    let worker = worker.clone();
    worker.calls().clone().spawn(async move {
        let upgraded = hyper::upgrade::on(request).await;
        let stream = upgraded
            .map_err(io::Error::other)
            .and_then(near::taken_over);
        match stream {
            Ok(stream) => worker.spare(stream).await,
            Err(error) => tracing::debug!(%error, "a spare went away before its upgrade"),
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(
        header::CONNECTION,
        header::HeaderValue::from_static("upgrade"),
    );
    response
        .headers_mut()
        .insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    response
}
