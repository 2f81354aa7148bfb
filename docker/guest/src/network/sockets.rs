//! Whose socket is at the other end of a loopback connection: asked of the kernel.
//!
//! A connection is found by both its ends, so that an entry of another connection is never
//! taken for it. Where nothing is found, or it cannot be read, nobody is named.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

/// The listening side of a TCP connection has it as well, and so has the table of a wildcard.
const LISTENING: u8 = 10;
const REQUEST_BYTES: usize = 72;
/// `SOCK_DIAG_BY_FAMILY`, the kind of both the request and its answer.
const BY_FAMILY: u16 = 20;

/// The user of the socket that connected from `client` to `server`.
pub(crate) fn owner_of_connection(client: SocketAddrV4, server: SocketAddrV4) -> Option<u32> {
    match ask_kernel(client, server) {
        Asked::Owner(uid) => Some(uid),
        Asked::Nobody => None,
        // A kernel without the answering module; its table says the same, but takes
        // milliseconds to walk through.
        Asked::Unable => {
            let same = |entry: &Entry| {
                entry.local == client && entry.remote == server && entry.state != LISTENING
            };
            only_owner(&["/proc/net/tcp", "/proc/net/tcp6"], same)
        }
    }
}

/// The user of the UDP socket that sends from `client`. One that is not connected has no other
/// end, so all that could be meant must be the same user's.
pub(crate) fn owner_of_datagrams(client: SocketAddrV4) -> Option<u32> {
    let may_send = |entry: &Entry| {
        entry.local.port() == client.port()
            && (entry.local.ip() == client.ip() || entry.local.ip().is_unspecified())
    };
    only_owner(&["/proc/net/udp", "/proc/net/udp6"], may_send)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Owner(u32),
    Nobody,
    Unable,
}

/// One question to the kernel's socket diagnosis, which looks up exactly this connection.
fn ask_kernel(client: SocketAddrV4, server: SocketAddrV4) -> Asked {
    let asked = || -> rustix::io::Result<Asked> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(
            &socket,
            &request(client, server),
            SendFlags::empty(),
            &kernel,
        )?;
        let mut answer = [0; 512];
        // The kernel answers within the call that asks.
        let (_, length) = recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
        Ok(read_answer(
            answer.get(..length).unwrap_or_default(),
            client,
            server,
        ))
    };
    asked().unwrap_or(Asked::Unable)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(client: SocketAddrV4, server: SocketAddrV4) -> Vec<u8> {
    const INET: u8 = 2;
    const TCP: u8 = 6;
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    let length = u32::try_from(REQUEST_BYTES).unwrap_or_default();
    request.extend(length.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    // A request, with no sequence and no sender to tell apart.
    request.extend(1_u16.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([INET, TCP, 0, 0]);
    // In every state.
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(client.port().to_be_bytes());
    request.extend(server.port().to_be_bytes());
    for end in [client, server] {
        request.extend(end.ip().octets());
        request.extend([0; 12]);
    }
    // On any interface, with any cookie.
    request.extend(0_u32.to_ne_bytes());
    request.extend([0xff; 8]);
    request
}

/// `struct nlmsghdr` and `struct inet_diag_msg`, or an error in place of the latter.
fn read_answer(answer: &[u8], client: SocketAddrV4, server: SocketAddrV4) -> Asked {
    let word = |at: usize| {
        let bytes = answer.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let port = |at: usize| {
        let bytes = answer.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let kind = word(4).map(|both| both.to_ne_bytes());
    if kind.is_none_or(|[low, high, _, _]| u16::from_ne_bytes([low, high]) != BY_FAMILY) {
        return Asked::Unable;
    }
    let (Some(uid), Some(inode)) = (word(80), word(84)) else {
        return Asked::Unable;
    };
    // The kernel falls back to a listener at the same port. A socket that has been closed has
    // no inode any more, and nobody's uid.
    let state = answer.get(17).copied();
    let same = port(20) == Some(client.port()) && port(22) == Some(server.port());
    if same && inode != 0 && state != Some(LISTENING) {
        Asked::Owner(uid)
    } else {
        Asked::Nobody
    }
}

/// A line of the tables below `/proc/net`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    local: SocketAddrV4,
    remote: SocketAddrV4,
    state: u8,
    uid: u32,
}

fn only_owner(tables: &[&str], wanted: impl Fn(&Entry) -> bool) -> Option<u32> {
    let mut owner = None;
    for table in tables {
        let file = match File::open(table) {
            Ok(file) => file,
            // Only the second can be missing: on a host without IPv6.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => return None,
        };
        for line in BufReader::new(file).lines() {
            let Some(entry) = parse_line(&line.ok()?).filter(&wanted) else {
                continue;
            };
            if owner.is_some_and(|owner| owner != entry.uid) {
                return None;
            }
            owner = Some(entry.uid);
        }
    }
    owner
}

/// `0: 0100007F:9C40 0100007F:0035 01 00000000:00000000 00:00000000 00000000 200001 0 1234 …`
fn parse_line(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = parse_end(fields.next()?)?;
    let remote = parse_end(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode: u64 = fields.nth(1)?.parse().ok()?;
    // What has no inode has been closed, and its uid is nobody's.
    (inode != 0).then_some(Entry {
        local,
        remote,
        state,
        uid,
    })
}

/// Addresses stand there as the words that the kernel holds. An IPv4 address that an IPv6
/// socket uses is the last of four, and the one before it says so.
fn parse_end(text: &str) -> Option<SocketAddrV4> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |text: &str| Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => word(address)?,
        32 => {
            let mapped = address.starts_with("0000000000000000")
                && word(address.get(16..24)?)? == [0, 0, 0xff, 0xff];
            let any = address.bytes().all(|digit| digit == b'0');
            if !mapped && !any {
                return None;
            }
            word(address.get(24..)?)?
        }
        _ => return None,
    };
    Some(SocketAddrV4::new(Ipv4Addr::from(address), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => {
                SocketAddrV4::new(address.ip().to_ipv4_mapped().unwrap(), address.port())
            }
        }
    }

    #[test]
    fn a_connection_is_found_by_both_its_ends() {
        let me = rustix::process::geteuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = v4(listener.local_addr().unwrap());
        let stream = TcpStream::connect(server).unwrap();
        let (_accepted, client) = listener.accept().unwrap();
        let client = v4(client);
        assert_eq!(owner_of_connection(client, server), Some(me));
        assert_eq!(ask_kernel(client, server), Asked::Owner(me));
        let other = SocketAddrV4::new(*server.ip(), server.port() ^ 1);
        assert_eq!(owner_of_connection(client, other), None);
        // The listener alone is not a connection.
        assert_eq!(owner_of_connection(server, client_of_nobody()), None);
        drop(stream);
    }

    fn client_of_nobody() -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_address_is_found_too() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            return; // This host has no IPv6, and so no such sockets.
        };
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("::ffff:127.0.0.1", port)).unwrap();
        let (accepted, client) = listener.accept().unwrap();
        let me = Some(rustix::process::geteuid().as_raw());
        let (client, server) = (v4(client), v4(accepted.local_addr().unwrap()));
        assert_eq!(owner_of_connection(client, server), me);
        let same = |entry: &Entry| entry.local == client && entry.remote == server;
        assert_eq!(only_owner(&["/proc/net/tcp", "/proc/net/tcp6"], same), me);
        drop(stream);
    }

    #[test]
    fn who_sends_datagrams_is_found() {
        let me = Some(rustix::process::geteuid().as_raw());
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = UdpSocket::bind(address).unwrap();
            let port = socket.local_addr().unwrap().port();
            let sender = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            assert_eq!(owner_of_datagrams(sender), me);
            drop(socket);
            assert_eq!(owner_of_datagrams(sender), None);
        }
    }

    #[test]
    fn answers_that_do_not_fit_name_nobody() {
        let client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 40_000);
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 53);
        let mut answer = vec![0; 88];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[17] = 1;
        answer[20..22].copy_from_slice(&40_000_u16.to_be_bytes());
        answer[22..24].copy_from_slice(&53_u16.to_be_bytes());
        answer[80..84].copy_from_slice(&200_001_u32.to_ne_bytes());
        answer[84..88].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(read_answer(&answer, client, server), Asked::Owner(200_001));
        for (at, value) in [(17, LISTENING), (23, 54), (21, 0), (84, 0)] {
            let mut changed = answer.clone();
            changed[at] = value;
            assert_eq!(read_answer(&changed, client, server), Asked::Nobody, "{at}");
        }
        assert_eq!(read_answer(&answer[..60], client, server), Asked::Unable);
        answer[4] = 2;
        assert_eq!(read_answer(&answer, client, server), Asked::Unable);
        assert_eq!(read_answer(&[], client, server), Asked::Unable);
    }

    #[test]
    fn lines_of_the_tables_are_understood() {
        let line = "   1: 0100007F:9C40 0100007F:0035 01 00000000:00000000 00:00000000 00000000 200001 0 77 2 0 0";
        let entry = parse_line(line).unwrap();
        assert_eq!(entry.local.to_string(), "127.0.0.1:40000");
        assert_eq!(entry.remote.to_string(), "127.0.0.1:53");
        assert_eq!((entry.state, entry.uid), (1, 200_001));
        assert_eq!(parse_line(&line.replace(" 77 ", " 0 ")), None);
        assert_eq!(parse_line("  sl  local_address rem_address   st"), None);
        let mapped = "0000000000000000FFFF00000100007F:0035";
        assert_eq!(parse_end(mapped).unwrap().to_string(), "127.0.0.1:53");
        for other in [
            "000080FE00000000FFFF00000100007F:0035",
            "00000000000000000000000001000000:0035",
        ] {
            assert_eq!(parse_end(other), None);
        }
        assert_eq!(parse_end("0100007F"), None);
    }
}
