//! What is read of a pack's bytes before anything is decided, for those who throw bytes at it: the fuzz targets of
//! `tests/fuzz` and the test that runs their seeds. These functions act on nothing.

use rumi_policy::{Denial, Hello};

/// What the first bytes of a tunnel say, when they come in pieces of this size. Nothing where more would have to come.
#[must_use]
pub fn client_hello(bytes: &[u8], piece: usize) -> Option<Hello> {
    crate::outbound::hello_in(bytes, piece)
}

/// What each request asks a proxy for, in HTTP/1.1 of which no more comes; nothing where it is for the broker itself.
pub async fn proxied(bytes: &[u8]) -> Vec<Option<Result<String, Denial>>> {
    crate::server::proxied(bytes).await
}
