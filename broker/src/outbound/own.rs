//! The host's own addresses, its gateways and its name servers: targets that no table of ranges knows.
//!
//! Interfaces come and go with every container that starts, so what was read of them holds for a
//! second and no longer.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{name_servers::NameServersUnknown, resolver::Resolver};

const IPV4_TABLE: &str = "/proc/net/fib_trie";
const IPV4_ROUTES: &str = "/proc/net/route";
const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";
const IPV6_ROUTES: &str = "/proc/net/ipv6_route";
/// `RTF_GATEWAY` of linux/route.h: the route's next hop is a machine, not a link.
const ROUTE_HAS_GATEWAY: u32 = 0x2;

/// Why the host's own addresses are not known; without them nothing may be dialled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnAddressesError {
    /// A table of the kernel could not be read.
    #[error(
        "cannot read `{table}`, which lists addresses that packs must not reach; mount /proc for the broker"
    )]
    Table {
        /// The file.
        table: &'static str,
        /// From the file system.
        source: io::Error,
    },
    /// The name servers, which are refused too, are not known.
    #[error("cannot list the name servers, which packs must not reach")]
    NameServers(#[from] NameServersUnknown),
    /// The kernel could not be asked where an address leads.
    #[error(
        "cannot open a socket to ask where an address leads; raise the broker's limit of open files"
    )]
    Probe(#[source] io::Error),
}

/// Reading the kernel's tables takes as long as a whole request of small size.
const HOLDS: Duration = Duration::from_secs(1);
/// Candidates whose way is remembered within that time.
const MOST_PROBED: usize = 256;

/// What the kernel's tables said last, and when.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<Option<Read>>);

#[derive(Debug)]
struct Read {
    since: Instant,
    /// What interfaces and routes list.
    listed: Vec<IpAddr>,
    /// Where candidates were found to lead: to this host, or not.
    probed: HashMap<IpAddr, bool>,
}

impl Tables {
    /// What is listed, and those of the candidates that lead here.
    fn addresses(&self, candidates: &[IpAddr]) -> Result<Vec<IpAddr>, OwnAddressesError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = kept.take().filter(|read| read.since.elapsed() < HOLDS);
        let mut read = match current {
            Some(read) => read,
            None => Read {
                since: Instant::now(),
                listed: read_tables()?,
                probed: HashMap::new(),
            },
        };
        let mut own = read.listed.clone();
        for candidate in candidates.iter().map(IpAddr::to_canonical) {
            let here = match read.probed.get(&candidate) {
                Some(here) => *here,
                None => leads_here(candidate)?,
            };
            if read.probed.len() < MOST_PROBED {
                read.probed.insert(candidate, here);
            }
            if here {
                own.push(candidate);
            }
        }
        *kept = Some(read);
        Ok(own)
    }
}

fn read_tables() -> Result<Vec<IpAddr>, OwnAddressesError> {
    let mut own: Vec<IpAddr> = ipv4_addresses(&read(IPV4_TABLE)?);
    own.extend(ipv4_gateways(&read(IPV4_ROUTES)?));
    // Without IPv6 in the kernel there are no such tables, and nothing to protect either.
    own.extend(ipv6_addresses(&read_if_there(IPV6_ADDRESSES)?));
    own.extend(ipv6_gateways(&read_if_there(IPV6_ROUTES)?));
    Ok(own)
}

/// Every address of the host's interfaces, gateways and name servers, and each candidate that the kernel
/// would deliver to this host itself (a local route may cover whole ranges, which no interface lists).
pub(crate) fn own_addresses(
    resolver: &Resolver,
    candidates: &[IpAddr],
) -> Result<Vec<IpAddr>, OwnAddressesError> {
    let mut own = resolver.tables().addresses(candidates)?;
    own.extend(resolver.name_servers().addresses()?);
    own.sort_unstable();
    own.dedup();
    Ok(own)
}

fn read(table: &'static str) -> Result<String, OwnAddressesError> {
    fs::read_to_string(table).map_err(|source| OwnAddressesError::Table { table, source })
}

fn read_if_there(table: &'static str) -> Result<String, OwnAddressesError> {
    match read(table) {
        Err(OwnAddressesError::Table { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(String::new())
        }
        other => other,
    }
}

/// A leaf of the trie is `|-- 192.0.2.7`, and the lines below it say what it is: `/32 host LOCAL`.
fn ipv4_addresses(trie: &str) -> Vec<IpAddr> {
    let mut leaf = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(leaf.map(IpAddr::V4));
        }
    }
    found
}

/// Columns: interface, destination, gateway, flags; addresses are words in the machine's byte order.
fn ipv4_gateways(routes: &str) -> impl Iterator<Item = IpAddr> {
    routes.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(2);
        let gateway = u32::from_str_radix(columns.next()?, 16).ok()?;
        let flags = u32::from_str_radix(columns.next()?, 16).ok()?;
        (flags & ROUTE_HAS_GATEWAY != 0 && gateway != 0)
            .then(|| IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes())))
    })
}

/// The first column is the address, 32 hexadecimal digits.
fn ipv6_addresses(table: &str) -> impl Iterator<Item = IpAddr> {
    table
        .lines()
        .filter_map(|line| ipv6(line.split_ascii_whitespace().next()?))
}

/// The fifth column is the next hop, all zeros where there is none.
fn ipv6_gateways(routes: &str) -> impl Iterator<Item = IpAddr> {
    routes
        .lines()
        .filter_map(|line| ipv6(line.split_ascii_whitespace().nth(4)?))
        .filter(|address| !address.is_unspecified())
}

fn ipv6(digits: &str) -> Option<IpAddr> {
    let bits = u128::from_str_radix(digits, 16).ok()?;
    (digits.len() == 32).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

/// Whether the kernel would deliver to this host. Connecting a datagram socket sends nothing and makes the
/// kernel choose a source address; only for what is local is that the destination itself, or a loopback address.
fn leads_here(address: IpAddr) -> Result<bool, OwnAddressesError> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind(SocketAddr::new(any, 0)) {
        Ok(socket) => socket,
        // A host without this address family leads nowhere with it.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return Ok(false),
        Err(error) => return Err(OwnAddressesError::Probe(error)),
    };
    // The number stands for any port: none is contacted.
    if socket.connect(SocketAddr::new(address, 9)).is_err() {
        return Ok(false);
    }
    let source = socket.local_addr().map_err(OwnAddressesError::Probe)?;
    Ok(source.ip() == address || source.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of_the_trie_that_are_local_are_own() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
                    +-- 127.0.0.0/8 2 0 2\n           |-- 127.0.0.0\n              /8 host LOCAL\n           \
                    |-- 127.0.0.1\n              /32 host LOCAL\n        |-- 198.51.100.255\n           \
                    /32 link BROADCAST\n     |-- 198.51.100.7\n        /32 link UNICAST\n        /32 host LOCAL\n";
        assert_eq!(
            ipv4_addresses(trie),
            ["127.0.0.1", "198.51.100.7"].map(|text| text.parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn gateways_are_read_from_both_tables() {
        let word = format!("{:08X}", u32::from_ne_bytes([198, 51, 100, 1]));
        let routes = format!(
            "Iface Destination Gateway Flags RefCnt Use Metric Mask\neth0 00000000 {word} 0003 0 0 0 0\n\
             eth0 006433C6 00000000 0001 0 0 0 0\nbroken\n"
        );
        assert_eq!(
            ipv4_gateways(&routes).collect::<Vec<_>>(),
            ["198.51.100.1".parse::<IpAddr>().unwrap()]
        );
        let zeros = "0".repeat(32);
        let routes = format!(
            "{zeros} 00 {zeros} 00 20010db8000000000000000000000001 00000400 1 0 3 eth0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 1 0 200200 lo\nshort\n"
        );
        assert_eq!(
            ipv6_gateways(&routes).collect::<Vec<_>>(),
            ["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn what_the_kernel_delivers_locally_leads_here() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("0.0.0.0", true),
            ("::1", true),
            // TEST-NET-1 may be an interface's own network in a laboratory; TEST-NET-3 is nobody's.
            ("203.0.113.9", false),
            ("2001:db8:ffff::9", false),
        ] {
            assert_eq!(
                leads_here(address.parse().unwrap()).unwrap(),
                expected,
                "{address}"
            );
        }
    }
}
