//! A stream that stops reading after so many bytes.
//!
//! A limit on the body does not bound what a server may send around it: informational replies without end,
//! chunks of one byte, empty TLS records. This limit counts every byte that arrives.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The limit was passed.
#[derive(Debug, thiserror::Error)]
#[error("the server sent more bytes than any reply within the limit needs")]
pub(super) struct Overrun;

/// Wraps a stream and counts what is read from it.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    left: u64,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, limit: u64) -> Self {
        Self {
            stream,
            left: limit,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let arrived = buffer.filled().len().saturating_sub(before);
        match self.left.checked_sub(arrived as u64) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::other(Overrun))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
