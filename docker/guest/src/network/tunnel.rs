//! From a local connection to the broker and back.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{
    gate::Gate,
    head::{self, HeadError},
};

/// Bytes under way in each direction of a connection.
const BUFFER: usize = 32 * 1024;
/// The broker looks a name up, connects, and decides; its own limits are shorter.
const ANSWER: Duration = Duration::from_secs(120);
/// What is read of a refusal's text.
const REASON_BYTES: usize = 1024;
const REASON_TIME: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("cannot reach the broker")]
    Broker(#[source] io::Error),
    #[error("the broker's answer cannot be understood")]
    Answer(#[from] HeadError),
    #[error("{0}")]
    Refused(String),
}

/// Asks the broker for a tunnel to a host and port.
pub(super) async fn open(gate: &Gate, host: &str, port: u16) -> Result<Tunnel, TunnelError> {
    let mut broker = gate.broker().await.map_err(TunnelError::Broker)?;
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    broker
        .write_all(request.as_bytes())
        .await
        .map_err(TunnelError::Broker)?;
    let read = head::read(&mut broker, ANSWER, head::parse_reply).await?;
    let mut early = read.rest().to_vec();
    if (200..300).contains(&read.head.status) {
        return Ok(Tunnel { broker, early });
    }
    let length = read.head.length.unwrap_or(REASON_BYTES).min(REASON_BYTES);
    let missing = length.saturating_sub(early.len());
    let mut rest = broker.take(u64::try_from(missing).unwrap_or_default());
    if timeout(REASON_TIME, rest.read_to_end(&mut early))
        .await
        .is_err()
    {
        // What came until now says enough.
    }
    let text = String::from_utf8_lossy(&early);
    let first = text.lines().next().unwrap_or_default();
    Err(TunnelError::Refused(format!(
        "{} {first}",
        read.head.status
    )))
}

/// An open tunnel, with what its far end has said already.
#[derive(Debug)]
pub(super) struct Tunnel {
    broker: UnixStream,
    early: Vec<u8>,
}

impl Tunnel {
    pub(super) async fn carry(mut self, mut client: TcpStream) -> io::Result<()> {
        client.write_all(&self.early).await?;
        drop(self.early);
        carry(&mut client, &mut self.broker).await
    }
}

/// Copies both ways until both have ended; one that ends leaves the other its way.
pub(super) async fn carry(client: &mut TcpStream, broker: &mut UnixStream) -> io::Result<()> {
    copy_bidirectional_with_sizes(client, broker, BUFFER, BUFFER)
        .await
        .map(drop)
}
