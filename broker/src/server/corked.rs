//! A connection whose small writes of one turn leave together.
//!
//! HTTP/2 ends a small reply with a frame of its own and flushes in between, which costs a
//! second system call and wakes the peer twice. While the connection is polled, what it
//! writes is held; when the poll is over, all of it is sent at once.

use std::{
    io,
    os::fd::AsFd as _,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// Most bytes that are held; larger writes go straight through.
const HELD: usize = 32 * 1024;

/// The end that the HTTP connection reads and writes.
#[derive(Debug, Clone)]
pub(super) struct Corked(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    stream: UnixStream,
    ahead: Bytes,
    corked: bool,
    held: Vec<u8>,
    sent: usize,
    put_off: bool,
}

impl Corked {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(Line {
            stream,
            ahead: Bytes::new(),
            corked: false,
            held: Vec::new(),
            sent: 0,
            put_off: false,
        })))
    }

    /// Polls the connection that writes here, and sends what it wrote. While other requests
    /// of the connection are `busy`, sending is put off for one turn, which comes after all
    /// that can run now: their replies leave together.
    pub(super) fn poll_turn<F: Future>(
        &self,
        connection: Pin<&mut F>,
        busy: impl FnOnce() -> bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<F::Output>> {
        self.line().corked = true;
        let polled = connection.poll(context);
        let mut line = self.line();
        // Whoever takes the stream over after an upgrade writes outside of these turns.
        line.corked = false;
        line.put_off = !line.put_off && !line.held.is_empty() && busy();
        if line.put_off {
            context.waker().wake_by_ref();
            return polled.map(Ok);
        }
        match line.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // A full socket wakes this task when there is room, and the next turn goes on.
            _ => polled.map(Ok),
        }
    }

    /// Has the stream served by the runtime that calls. What was read of it already comes first.
    pub(super) fn move_here(&self, ahead: Bytes) -> io::Result<()> {
        let mut line = self.line();
        let stream =
            std::os::unix::net::UnixStream::from(line.stream.as_fd().try_clone_to_owned()?);
        line.stream = UnixStream::from_std(stream)?;
        line.ahead = ahead;
        Ok(())
    }

    /// Sends what an ended connection has left.
    pub(super) fn poll_rest(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line().poll_send(context)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.held.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn holds(&self, more: usize) -> bool {
        self.corked && self.held.len().saturating_add(more) <= HELD
    }
}

impl AsyncRead for Corked {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut line = self.line();
        if !line.ahead.is_empty() {
            let length = line.ahead.len().min(buffer.remaining());
            buffer.put_slice(&line.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut line.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.line();
        let length = slices.iter().map(|slice| slice.len()).sum();
        if line.holds(length) {
            for slice in slices {
                line.held.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(length));
        }
        ready!(line.poll_send(context))?;
        Pin::new(&mut line.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line();
        if line.corked {
            // Sent at the end of the turn.
            return Poll::Ready(Ok(()));
        }
        line.poll_send(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line();
        ready!(line.poll_send(context))?;
        Pin::new(&mut line.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        time::timeout,
    };

    use super::{Corked, HELD};

    async fn turn<F: Future>(corked: &Corked, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        poll_fn(|context| corked.poll_turn(connection.as_mut(), || false, context))
            .await
            .expect("the peer reads")
    }

    #[tokio::test]
    async fn writes_of_one_turn_leave_together() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let corked = Corked::new(ours);
        let mut writer = corked.clone();
        turn(&corked, async {
            writer.write_all(b"first, ").await.expect("held");
            writer.flush().await.expect("put off");
            let mut none = [0; 1];
            assert!(theirs.try_read(&mut none).is_err(), "nothing leaves early");
            writer.write_all(b"second").await.expect("held");
        })
        .await;
        let mut buffer = [0; 64];
        theirs.readable().await.expect("readable");
        let length = theirs.try_read(&mut buffer).expect("all of it");
        assert_eq!(buffer.get(..length), Some(&b"first, second"[..]));
    }

    #[tokio::test]
    async fn while_others_are_busy_sending_waits_for_one_turn_and_no_longer() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let corked = Corked::new(ours);
        let mut writer = corked.clone();
        let mut connection = pin!(async move {
            writer.write_all(b"reply").await.expect("held");
            std::future::pending::<()>().await;
        });
        let mut turns = Vec::new();
        for _ in 0..2 {
            poll_fn(|context| {
                let polled = corked.poll_turn(connection.as_mut(), || true, context);
                assert!(polled.is_pending());
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
            turns.push(theirs.try_read(&mut [0; 8]).unwrap_or(0));
        }
        assert_eq!(turns, [0, 5]);
    }

    #[tokio::test]
    async fn order_holds_when_a_write_is_too_large_to_be_held_and_the_peer_is_slow() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let corked = Corked::new(ours);
        let mut writer = corked.clone();
        let bytes: Vec<u8> = (0..40 * HELD).map(|n| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let reading = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.expect("read");
            read
        });
        turn(&corked, async {
            for (size, chunk) in bytes.chunks(HELD + 7).enumerate() {
                let (small, large) = chunk.split_at(size.min(chunk.len()));
                writer.write_all(small).await.expect("held");
                writer.write_all(large).await.expect("sent");
            }
        })
        .await;
        poll_fn(|context| corked.poll_rest(context))
            .await
            .expect("sent");
        drop((corked, writer));
        let read = timeout(Duration::from_secs(5), reading)
            .await
            .expect("ends");
        assert!(read.expect("read") == expected);
    }

    #[tokio::test]
    async fn outside_of_a_turn_nothing_is_held() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut corked = Corked::new(ours);
        corked.write_all(b"now").await.expect("written");
        let mut read = [0; 3];
        theirs.read_exact(&mut read).await.expect("there already");
        assert_eq!(&read, b"now");
    }

    #[tokio::test]
    async fn a_stream_that_moves_loses_nothing_of_what_was_read_before() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut corked = Corked::new(ours);
        theirs.write_all(b"later").await.expect("written");
        corked
            .move_here(bytes::Bytes::from_static(b"earlier, "))
            .expect("moved");
        let mut read = [0; 14];
        corked.read_exact(&mut read).await.expect("all of it");
        assert_eq!(&read, b"earlier, later");
        corked.write_all(b"back").await.expect("written");
        drop(corked);
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.expect("read");
        assert_eq!(rest, "back");
    }
}
