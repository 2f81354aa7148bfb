//! Addresses a pack may reach, and those it may not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

use crate::spelling::{SpellingError, text_type};
use std::sync::Arc;

/// The ranges that are never dialled, with why and where that is written.
const TABLE: &str = include_str!("addresses/deny-ranges.tsv");

/// The table, read once. `None` if a row cannot be read; then nothing is reachable, because the
/// row might have been the one that mattered.
static ROWS: LazyLock<Option<Vec<Row>>> = LazyLock::new(|| read_table(TABLE));

#[derive(Debug)]
struct Row {
    range: Cidr,
    why: &'static str,
}

/// A range of addresses, `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone)]
pub struct Cidr {
    text: Arc<str>,
    network: IpAddr,
    bits: u32,
}
text_type!(Cidr);

impl Cidr {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("an address range", text, why);
        let (address, length) = text
            .split_once('/')
            .ok_or_else(|| refuse("it must be `address/length`"))?;
        let network = IpAddr::from_str(address).map_err(|_| refuse("its address is not one"))?;
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse("its length is not a number"));
        }
        let width = width_of(network);
        let bits = length.parse().ok().filter(|bits| *bits <= width);
        let bits = bits.ok_or_else(|| refuse("its length is greater than the address"))?;
        if number(network) & !mask(bits, width) != 0 {
            return Err(refuse("its address has bits beyond its length"));
        }
        Ok(Self {
            text: text.into(),
            network,
            bits,
        })
    }

    /// Whether the range is one address.
    fn is_single(&self) -> bool {
        self.bits == width_of(self.network)
    }

    /// Whether the address, as it stands, is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let width = width_of(self.network);
        width == width_of(address)
            && number(address) & mask(self.bits, width) == number(self.network)
    }
}

fn width_of(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The leading `bits` of a number of `width` bits.
fn mask(bits: u32, width: u32) -> u128 {
    let all = u128::MAX.checked_shr(128 - width).unwrap_or(0);
    all & all.checked_shl(width - bits).unwrap_or(0)
}

/// Why an address is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is never dialled: {why}")]
pub struct Blocked {
    pub address: IpAddr,
    /// The range of the table it is in, where it is one of the table.
    pub range: Option<Cidr>,
    pub why: &'static str,
}

/// Judges one address a name resolved to, and gives it back in the form to dial: IPv4-mapped
/// addresses become IPv4. `own` are the addresses of this host; `exceptions` are the ranges an
/// admin allows in spite of everything else. An address of this host needs an exception for just
/// that address: who opens the intranet does not mean the host, its gateway and its resolvers.
pub fn judge(address: IpAddr, own: &[IpAddr], exceptions: &[Cidr]) -> Result<IpAddr, Blocked> {
    let address = address.to_canonical();
    let is_own = |address| own.iter().any(|own| own.to_canonical() == address);
    let excepted = |address| {
        let mut ranges = exceptions.iter().filter(|range| range.contains(address));
        ranges.any(|range| range.is_single() || !is_own(address))
    };
    if !excepted(address) {
        check(address, own)?;
        return Ok(address);
    }
    // An exception for a translator's prefix is not one for every address behind it.
    for inner in embedded(address) {
        if !excepted(inner) {
            check(inner, own)?;
        }
    }
    Ok(address)
}

fn check(address: IpAddr, own: &[IpAddr]) -> Result<(), Blocked> {
    let blocked = |range, why| {
        Err(Blocked {
            address,
            range,
            why,
        })
    };
    if own.iter().any(|own| own.to_canonical() == address) {
        return blocked(None, "it is an address of this host");
    }
    let Some(rows) = &*ROWS else {
        return blocked(None, "the table of addresses cannot be read");
    };
    if let Some(row) = rows.iter().find(|row| row.range.contains(address)) {
        return blocked(Some(row.range.clone()), row.why);
    }
    if let IpAddr::V6(address) = address {
        if address.segments()[0] >> 13 != 1 {
            return blocked(None, "it is outside 2000::/3, the global unicast range");
        }
        if is_isatap(address) {
            return blocked(
                None,
                "it is an ISATAP address, which tunnels to an ipv4 address",
            );
        }
    }
    Ok(())
}

fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = address.segments();
    matches!(high, 0 | 0x0200) && low == 0x5efe
}

/// The IPv4 addresses that some translator or tunnel would make of an IPv6 address.
fn embedded(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(address) = address else {
        return Vec::new();
    };
    let bits = address.to_bits();
    let word = |shift: u32| {
        let low = (bits >> shift) & u128::from(u32::MAX);
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(low).unwrap_or(0)))
    };
    match address.segments() {
        // Loopback and unspecified embed nothing.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // RFC 6052 lets a /48 prefix put the address around bits 64 to 71.
        [0x64, 0xff9b, 1, ..] => {
            let parts = ((bits >> 64) & 0xffff) << 16 | (bits >> 40) & 0xffff;
            let split = Ipv4Addr::from_bits(u32::try_from(parts).unwrap_or(0));
            vec![word(0), IpAddr::V4(split)]
        }
        [0x64, 0xff9b, ..] | [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => vec![word(0)],
        [0x2002, ..] => vec![word(80)],
        [0x2001, 0, ..] => {
            // Teredo stores the client's address inverted, and its server's as it is.
            let client = Ipv4Addr::from_bits(!u32::try_from(bits & 0xffff_ffff).unwrap_or(0));
            vec![word(64), IpAddr::V4(client)]
        }
        _ if is_isatap(address) => vec![word(0)],
        _ => Vec::new(),
    }
}

/// Reads the rows whose first column is a range. Rows that begin with `*` are rules in words;
/// they stand in [`check`].
fn read_table(table: &'static str) -> Option<Vec<Row>> {
    let lines = table.lines().skip(1).filter(|line| !line.starts_with('*'));
    lines
        .map(|line| {
            let mut columns = line.split('\t');
            let range = columns.next()?.parse().ok()?;
            Some(Row {
                range,
                why: columns.next()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
