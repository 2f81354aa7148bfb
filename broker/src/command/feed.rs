//! What goes into a command: its environment first, then its input, and signals beside both.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{mpsc, watch},
};

use super::{Environment, Input, Signal, Size};

/// The way of signals to a command.
pub trait Reach: Send + 'static {
    /// Sends one; a command that has ended is no error.
    fn signal(&mut self, signal: Signal) -> impl Future<Output = ()> + Send;
}

/// Bytes of input that are held for a command that does not read. Whoever sends more waits, and his
/// signals with him.
const HELD: usize = 1 << 20;
/// Longest frame for a terminal.
const FRAME: usize = 16 * 1024;

/// Where input comes from and where it goes.
pub(super) struct Feed<R> {
    pub(super) reach: R,
    pub(super) writer: Pin<Box<dyn AsyncWrite + Send>>,
    pub(super) environment: Option<Environment>,
    /// Whether the guest makes a terminal, and takes frames.
    pub(super) framed: bool,
    pub(super) input: mpsc::Receiver<Input>,
    pub(super) taken: watch::Sender<u64>,
    /// True once the guest listens to signals.
    pub(super) ready: watch::Receiver<bool>,
    /// The last signal that was sent, by number.
    pub(super) signalled: Arc<AtomicU8>,
}

/// A piece for the command, and how much of the caller's input it stands for.
struct Piece {
    bytes: Bytes,
    input: usize,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    held: usize,
    signals: Vec<Signal>,
    ended: bool,
}

impl<R: Reach> Feed<R> {
    /// Runs until it is dropped, because the connection carries the output as well.
    pub(super) async fn run(mut self) {
        let mut waiting = Waiting::default();
        // A guest that does not listen yet would not notice that its keeper went away.
        if self.ready.wait_for(|ready| *ready).await.is_err() {
            return std::future::pending().await;
        }
        if let Some(environment) = self.environment.take()
            && self.writer.write_all(environment.as_bytes()).await.is_err()
        {
            tracing::debug!("a command did not take its environment");
        }
        let (mut open, mut closed) = (true, false);
        loop {
            if waiting.ended && waiting.pieces.is_empty() && !closed && !self.framed {
                closed = true;
                if let Err(error) = self.writer.shutdown().await {
                    tracing::debug!(%error, "a command did not take the end of its input");
                }
            }
            for signal in std::mem::take(&mut waiting.signals) {
                self.signal(signal).await;
            }
            let front = waiting.pieces.front().map(|piece| piece.bytes.clone());
            tokio::select! {
                input = self.input.recv(), if open && waiting.held < HELD => match input {
                    Some(input) => self.understand(input, &mut waiting),
                    None => {
                        open = false;
                        self.understand(Input::End, &mut waiting);
                    }
                },
                written = self.writer.write(front.as_deref().unwrap_or_default()), if front.is_some() => {
                    self.advance(written.unwrap_or(0), &mut waiting).await;
                }
                else => std::future::pending::<()>().await,
            }
        }
    }

    fn understand(&self, input: Input, waiting: &mut Waiting) {
        match input {
            // After the end nothing more is taken, whoever sends it.
            Input::Data(_) | Input::End if waiting.ended => {}
            Input::Data(bytes) => {
                waiting.held += bytes.len();
                if self.framed {
                    waiting.pieces.extend(frames(&bytes));
                } else if !bytes.is_empty() {
                    let input = bytes.len();
                    waiting.pieces.push_back(Piece { bytes, input });
                }
            }
            Input::End => {
                waiting.ended = true;
                if self.framed {
                    waiting.pieces.push_back(frame(b'E', &[], 0));
                }
            }
            Input::Resize(Size { rows, columns }) => {
                if self.framed {
                    let [a, b] = rows.to_be_bytes();
                    let [c, d] = columns.to_be_bytes();
                    waiting.pieces.push_back(frame(b'R', &[a, b, c, d], 0));
                }
            }
            Input::Signal(signal) => {
                if !waiting.signals.contains(&signal) {
                    waiting.signals.push(signal);
                }
            }
        }
    }

    /// Goes on behind what was written. A command that takes nothing any more takes it all: its
    /// caller must not wait for it.
    async fn advance(&mut self, written: usize, waiting: &mut Waiting) {
        let Some(front) = waiting.pieces.front_mut() else {
            return;
        };
        let all = written == 0 || written >= front.bytes.len();
        let input = if all { front.input } else { 0 };
        if all {
            waiting.pieces.pop_front();
        } else {
            bytes::Buf::advance(&mut front.bytes, written);
            if !self.framed {
                front.input = front.bytes.len();
            }
        }
        let input = if all || self.framed { input } else { written };
        waiting.held = waiting.held.saturating_sub(input);
        if input > 0 {
            let input = u64::try_from(input).unwrap_or(u64::MAX);
            self.taken
                .send_modify(|taken| *taken = taken.saturating_add(input));
        }
        if waiting.pieces.is_empty()
            && let Err(error) = self.writer.flush().await
        {
            tracing::debug!(%error, "a command takes no more input");
        }
    }

    async fn signal(&mut self, signal: Signal) {
        self.signalled.store(signal.number(), Ordering::Relaxed);
        self.reach.signal(signal).await;
    }
}

fn frames(bytes: &Bytes) -> impl Iterator<Item = Piece> {
    bytes
        .chunks(FRAME)
        .map(|chunk| frame(b'I', chunk, chunk.len()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn frame(kind: u8, content: &[u8], input: usize) -> Piece {
    let mut bytes = BytesMut::with_capacity(content.len() + 3);
    bytes.put_u8(kind);
    bytes.put_u16(u16::try_from(content.len()).unwrap_or(u16::MAX));
    bytes.extend_from_slice(content);
    Piece {
        bytes: bytes.freeze(),
        input,
    }
}
