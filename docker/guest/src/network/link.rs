//! The worker's end of the exchange with PID 1, over which its component's queries come.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    rc::Rc,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    connect, recvmsg, socket_with,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpStream, UnixDatagram},
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{exchange, message, resolver::Resolver};
use crate::backoff::Backoff;

/// Queries that are being answered; more are not looked at, and their clients ask again.
const QUERIES: usize = 64;
/// Queries over one TCP connection, and how long each may take.
const MOST: usize = 32;
const STREAM_TIME: Duration = Duration::from_secs(10);

/// Answers for as long as the runtime lives.
pub(super) async fn serve(resolver: Resolver, mut lines: mpsc::Receiver<String>) {
    let resolver = Rc::new(resolver);
    let places = Rc::new(Semaphore::new(QUERIES));
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        if let Ok(link) = open() {
            let link = Rc::new(link);
            loop {
                tokio::select! {
                    received = receive(&link) => match received {
                        Ok(Some(packet)) => take(&link, &resolver, &places, packet),
                        Ok(None) | Err(_) => break,
                    },
                    Some(line) = lines.recv() => say(&link, &line).await,
                }
                backoff.reset();
            }
        }
        // PID 1 holds the other end for as long as the container lives, except where a worker
        // that was started by hand has no PID 1 of ours.
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// The type is that of another kind of socket, which is read and written in just the same way:
/// packet by packet.
fn open() -> io::Result<UnixDatagram> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    connect(&socket, &exchange::address()?)?;
    UnixDatagram::from_std(socket.into())
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    stream: Option<OwnedFd>,
}

/// The next packet; `None` at the end.
async fn receive(link: &UnixDatagram) -> io::Result<Option<Packet>> {
    loop {
        link.readable().await?;
        match link.try_io(Interest::READABLE, || receive_now(link)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

fn receive_now(link: &UnixDatagram) -> io::Result<Option<Packet>> {
    let mut bytes = [0; exchange::PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        link,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let stream = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let bytes = bytes.get(..received.bytes).unwrap_or_default().to_vec();
    Ok((!bytes.is_empty()).then_some(Packet { bytes, stream }))
}

/// A line that cannot be sent is not worth waiting for; the broker has it as well.
async fn say(link: &UnixDatagram, line: &str) {
    let mut line = line.as_bytes();
    line = line.get(..message::LONGEST).unwrap_or(line);
    if link
        .send(&exchange::pack(exchange::LINE, line))
        .await
        .is_err()
    {
        // The link has ended, which its reader sees.
    }
}

fn take(link: &Rc<UnixDatagram>, resolver: &Rc<Resolver>, places: &Rc<Semaphore>, packet: Packet) {
    let (link, resolver) = (Rc::clone(link), Rc::clone(resolver));
    let places = Rc::clone(places);
    tokio::task::spawn_local(async move {
        let Ok(_place) = places.try_acquire() else {
            return;
        };
        if let Some(stream) = packet.stream {
            if timeout(STREAM_TIME, converse(&resolver, stream))
                .await
                .is_err()
            {
                // It had its time.
            }
            return;
        }
        let Some((ticket, query)) = exchange::unpack(&packet.bytes) else {
            return;
        };
        if let Some(answer) = resolver.answer(query).await {
            let packet = exchange::pack(ticket, &answer);
            // A full queue means a client that floods; a lost answer is asked for again.
            if link.try_send(&packet).is_err() {}
        }
    });
}

/// Messages behind their length, as DNS has them on streams.
async fn converse(resolver: &Resolver, stream: OwnedFd) -> io::Result<()> {
    let stream = std::net::TcpStream::from(stream);
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    for _ in 0..MOST {
        let length = usize::from(stream.read_u16().await?);
        if length > message::LONGEST {
            break;
        }
        let mut query = vec![0; length];
        stream.read_exact(&mut query).await?;
        let Some(answer) = resolver.answer(&query).await else {
            break;
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        stream.write_all(&framed).await?;
    }
    Ok(())
}
