//! The first thing a TLS client says, read without answering it.

use std::io;

use rumi_policy::Hello;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};
use tokio_rustls::rustls::server::Acceptor;

use super::deadline;

/// Larger than any hello a client has a reason to send.
const MAX_HELLO: usize = 64 * 1024;
/// Bytes of one read; most hellos fit.
const READ: usize = 4096;
/// A TLS record that carries a handshake begins with this byte.
const HANDSHAKE: u8 = 22;

/// Why there is no hello to judge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    /// It did not come in time.
    #[error("no TLS hello came in time; the tunnel is closed")]
    Timeout,
    /// The client went away.
    #[error("the client closed the tunnel before its TLS hello was whole")]
    Closed(#[source] io::Error),
}

/// Reads until it is clear what the client says. Gives that, and all bytes that were read, for the server.
pub(crate) async fn read_hello<S>(
    stream: &mut S,
    until: Instant,
) -> Result<(Hello, Vec<u8>), HelloError>
where
    S: AsyncRead + Unpin,
{
    let mut parser = Acceptor::default();
    let mut seen = Vec::with_capacity(READ);
    loop {
        let before = seen.len();
        let read = deadline::before(until, stream.read_buf(&mut seen)).await;
        match read.map_err(|_passed| HelloError::Timeout)? {
            Ok(0) => return Err(HelloError::Closed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(HelloError::Closed(error)),
        }
        if let Some(hello) = told(&mut parser, &seen, before) {
            return Ok((hello, seen));
        }
        seen.reserve(READ);
    }
}

/// The same for bytes that are all there, read in pieces of this size; nothing where more would have to come.
pub(crate) fn hello_in(bytes: &[u8], piece: usize) -> Option<Hello> {
    let mut parser = Acceptor::default();
    let mut before = 0;
    while before < bytes.len() {
        let end = before.saturating_add(piece.max(1)).min(bytes.len());
        let seen = bytes.get(..end).unwrap_or_default();
        if let Some(hello) = told(&mut parser, seen, before) {
            return Some(hello);
        }
        before = end;
    }
    None
}

/// What all bytes so far say, of which those from `before` on are new, once that is clear.
fn told(parser: &mut Acceptor, seen: &[u8], before: usize) -> Option<Hello> {
    if seen.first() != Some(&HANDSHAKE) || seen.len() > MAX_HELLO {
        return Some(Hello::Other);
    }
    parse(parser, seen.get(before..).unwrap_or_default())
}

/// What the bytes so far say, once that is clear.
fn parse(parser: &mut Acceptor, mut fresh: &[u8]) -> Option<Hello> {
    while !fresh.is_empty() {
        if parser.read_tls(&mut fresh).is_err() {
            return Some(Hello::Other);
        }
        match parser.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_owned);
                return Some(Hello::Tls(name));
            }
            Err(_) => return Some(Hello::Other),
        }
    }
    None
}
