//! The component's end of a tunnel, taken over from the HTTP connection that asked for it.

use http::Request;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};

use super::corked::Corked;
use crate::handlers::{Near, NearStream};

/// The stream behind a request, once its answer has been sent.
pub(super) fn of(request: &mut Request<Incoming>) -> Near {
    let upgrading = hyper::upgrade::on(request);
    Near::new(async move {
        let upgraded = upgrading.await.ok()?;
        match taken_over(upgraded) {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::warn!(%error, "a tunnel cannot be taken over");
                None
            }
        }
    })
}

/// On the runtime that passes its bytes on: a stream that stays with the one that accepted it has each
/// packet announced there first, and costs a thread more that is woken.
pub(super) fn taken_over(upgraded: Upgraded) -> std::io::Result<NearStream> {
    match downcast::<TokioIo<Corked>>(upgraded) {
        Ok(parts) => {
            let corked = parts.io.into_inner();
            corked.move_here(parts.read_buf)?;
            Ok(Box::new(corked))
        }
        // A tunnel within one whose TLS ends here.
        Err(upgraded) => Ok(Box::new(TokioIo::new(upgraded))),
    }
}
