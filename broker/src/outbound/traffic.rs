//! Streams whose bytes are counted, and what is done with two of them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

/// Bytes that are held of each direction of a tunnel.
const HELD: usize = 32 * 1024;
/// Silence is looked for this often within the time it may last.
const LOOKS: u32 = 4;

/// Bytes that have passed, as the pack's side sees them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    got: AtomicU64,
}

impl Traffic {
    /// Bytes that came from the pack.
    pub(crate) fn pack_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    /// Bytes that went to the pack.
    pub(crate) fn pack_got(&self) -> u64 {
        self.got.load(Ordering::Relaxed)
    }
    /// Notes bytes that came from the pack.
    pub(crate) fn took(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    /// Notes bytes that went to the pack.
    pub(crate) fn gave(&self, bytes: usize) {
        self.got.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves when nothing has passed for about so long.
    pub(crate) async fn silence(&self, longest: Duration) {
        let mut before = (self.pack_sent(), self.pack_got());
        let mut quiet = 0;
        while quiet < LOOKS {
            tokio::time::sleep(longest / LOOKS).await;
            let now = (self.pack_sent(), self.pack_got());
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    }
}

/// The pack's end of a tunnel.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    /// Read before the stream, because somebody looked at it already.
    ahead: io::Cursor<Vec<u8>>,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, ahead: Vec<u8>, traffic: Arc<Traffic>) -> Self {
        Self {
            stream,
            ahead: io::Cursor::new(ahead),
            traffic,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        ready!(Pin::new(&mut this.ahead).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        }
        let read = buffer.filled().len().saturating_sub(before);
        this.traffic.took(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.traffic.gave(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Passes bytes both ways until both sides have ended, one breaks, or nothing passes for too long.
pub(crate) async fn splice<A, B>(
    mut near: A,
    mut far: B,
    traffic: &Traffic,
    idle: Duration,
) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut near, &mut far, HELD, HELD) => copied.map(drop),
        () = traffic.silence(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}
