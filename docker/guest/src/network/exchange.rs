//! How queries get from PID 1, which holds port 53, to the worker of whoever asks, and back.
//!
//! The socket's name is bound by PID 1 before any code of the pack runs, and the kernel says
//! whose worker has connected to it. A packet is a ticket and a message; one without a message
//! brings a TCP connection instead.

use rustix::net::SocketAddrUnix;

use super::message;

/// A packet with this ticket from a worker is a line for the container's log.
pub(crate) const LINE: u64 = 0;
/// Longest packet.
pub(crate) const PACKET: usize = TICKET + message::LONGEST + 16;
const TICKET: usize = 8;

/// Abstract names belong to the container's own network namespace.
pub(crate) fn address() -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(b"rumi-names")
}

pub(crate) fn pack(ticket: u64, message: &[u8]) -> Vec<u8> {
    [&ticket.to_be_bytes(), message].concat()
}

pub(crate) fn unpack(packet: &[u8]) -> Option<(u64, &[u8])> {
    let (ticket, message) = packet.split_first_chunk::<TICKET>()?;
    Some((u64::from_be_bytes(*ticket), message))
}
