//! Holds port 53 and hands each query to the worker of whoever asks.
//!
//! PID 1 does this because its sockets are there before any code of the pack runs and stay until
//! the container ends, so that nobody can take their place. It looks at no query: who asks is
//! said by the kernel, and what is asked is between the worker and the broker.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, accept_with, bind, listen, recv, send, sendmsg, socket_with,
    sockopt::socket_peercred,
};

use super::log::Log;
use crate::network::{
    exchange,
    message::{self, Code},
    sockets,
};

const PORT: u16 = 53;
/// Workers at a time: one a component, of which a pack has no more than this.
const WORKERS: usize = 64;
/// Queries of one worker that may be unanswered.
const PENDING: usize = 64;
/// What is done of each kind before signals are looked at again.
const TURN: usize = 16;

#[derive(Debug)]
pub(super) struct Switchboard {
    datagrams: UdpSocket,
    streams: TcpListener,
    joining: OwnedFd,
    workers: Vec<Worker>,
    ticket: u64,
}

#[derive(Debug)]
struct Worker {
    uid: u32,
    line: OwnedFd,
    pending: VecDeque<(u64, SocketAddr)>,
    log: Log,
}

impl Switchboard {
    pub(super) fn open() -> io::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, PORT);
        let datagrams = UdpSocket::bind(address)?;
        datagrams.set_nonblocking(true)?;
        let streams = TcpListener::bind(address)?;
        streams.set_nonblocking(true)?;
        let joining = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        bind(&joining, &exchange::address()?)?;
        listen(&joining, 16)?;
        Ok(Self {
            datagrams,
            streams,
            joining,
            workers: Vec::new(),
            ticket: 0,
        })
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let own = [
            self.datagrams.as_fd(),
            self.streams.as_fd(),
            self.joining.as_fd(),
        ];
        own.into_iter()
            .chain(self.workers.iter().map(|worker| worker.line.as_fd()))
    }

    /// Does what can be done without waiting. What is left makes the next wait end at once.
    pub(super) fn serve(&mut self) {
        for _ in 0..TURN {
            if !self.admit() {
                break;
            }
        }
        self.take_answers();
        for _ in 0..TURN {
            if !self.take_query() {
                break;
            }
        }
        for _ in 0..TURN {
            if !self.take_stream() {
                break;
            }
        }
    }

    /// Lets a worker in. A later one of the same user takes the place of the one before.
    fn admit(&mut self) -> bool {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(line) = accept_with(&self.joining, flags) else {
            return false;
        };
        if let Ok(peer) = socket_peercred(&line) {
            let uid = peer.uid.as_raw();
            self.workers.retain(|worker| worker.uid != uid);
            if self.workers.len() < WORKERS {
                self.workers.push(Worker {
                    uid,
                    line,
                    pending: VecDeque::new(),
                    log: Log::new(uid),
                });
            }
        }
        true
    }

    fn take_answers(&mut self) {
        let datagrams = &self.datagrams;
        self.workers.retain_mut(|worker| {
            for _ in 0..TURN {
                match worker.answer() {
                    Ok(Some((client, answer))) => {
                        if datagrams.send_to(&answer, client).is_err() {
                            // Whoever asked is gone.
                        }
                    }
                    Ok(None) => {}
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
            }
            true
        });
    }

    fn take_query(&mut self) -> bool {
        let mut query = [0; message::LONGEST + 1];
        let Ok((length, client)) = self.datagrams.recv_from(&mut query) else {
            return false;
        };
        let query = query.get(..length).unwrap_or_default();
        let answer = match self.worker_of(client, sockets::owner_of_datagrams) {
            Err(code) => Some(code),
            Ok(_) if length > message::LONGEST => Some(Code::Malformed),
            Ok(worker) => {
                self.ticket = self.ticket.wrapping_add(1);
                let ticket = self.ticket;
                let passed = self
                    .workers
                    .get_mut(worker)
                    .is_some_and(|worker| worker.pass(ticket, client, query));
                (!passed).then_some(Code::Failed)
            }
        };
        // Never to what is an answer itself: two of these would talk to each other for ever.
        if let Some(code) = answer
            && message::read(query) != message::Query::Ignored
        {
            let answer = message::without_records(query, code);
            if self.datagrams.send_to(&answer, client).is_err() {
                // Whoever asked is gone.
            }
        }
        true
    }

    /// A TCP connection goes to the worker as a whole.
    fn take_stream(&mut self) -> bool {
        let Ok((stream, client)) = self.streams.accept() else {
            return false;
        };
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
        let owner = |from| sockets::owner_of_connection(from, server);
        if let Ok(worker) = self.worker_of(client, owner)
            && let Some(worker) = self.workers.get(worker)
        {
            worker.give(&stream);
        }
        true
    }

    /// Which worker answers for this client.
    fn worker_of(
        &self,
        client: SocketAddr,
        owner: impl Fn(SocketAddrV4) -> Option<u32>,
    ) -> Result<usize, Code> {
        let SocketAddr::V4(client) = client else {
            return Err(Code::Refused);
        };
        let uid = owner(client).ok_or(Code::Refused)?;
        self.workers
            .iter()
            .position(|worker| worker.uid == uid)
            .ok_or(Code::Failed)
    }
}

impl Worker {
    fn pass(&mut self, ticket: u64, client: SocketAddr, query: &[u8]) -> bool {
        let packet = exchange::pack(ticket, query);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if send(&self.line, &packet, flags).is_err() {
            return false;
        }
        if self.pending.len() >= PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((ticket, client));
        true
    }

    /// The next answer and whom it is for; `None` for one that nobody waits for.
    fn answer(&mut self) -> io::Result<Option<(SocketAddr, Vec<u8>)>> {
        let mut packet = [0; exchange::PACKET];
        let (_, length) = recv(&self.line, &mut packet, RecvFlags::DONTWAIT)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((ticket, answer)) = packet.get(..length).and_then(exchange::unpack) else {
            return Ok(None);
        };
        if ticket == exchange::LINE {
            self.log.write(answer);
            return Ok(None);
        }
        // A ticket is good once and for the worker that it was given to, so that no component
        // answers what another one has asked.
        let Some(place) = self.pending.iter().position(|(own, _)| *own == ticket) else {
            return Ok(None);
        };
        let client = self.pending.remove(place).map(|(_, client)| client);
        Ok(client.map(|client| (client, answer.to_vec())))
    }

    fn give(&self, stream: &TcpStream) {
        let descriptors = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let packet = exchange::pack(exchange::LINE, &[]);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if sendmsg(&self.line, &[IoSlice::new(&packet)], &mut control, flags).is_err() {
            // Closed with the stream itself: the client sees the end at once.
        }
    }
}
