//! Host names, domains of grants, ports and schemes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::spelling::{SpellingError, text_type};

/// A host in its one canonical form, the same for matching, resolving, dialling, SNI and log.
///
/// Either a name of lower-case letter-digit-hyphen labels without a trailing dot, or an address
/// spelled exactly as the standard library prints it. Everything else that some resolver would
/// understand as an address (`127.1`, `0x7f000001`, `0177.0.0.1`, `2130706433`) is refused.
#[derive(Clone)]
pub struct Host {
    text: Arc<str>,
    address: Option<IpAddr>,
}
text_type!(Host);

impl Host {
    const WHAT: &'static str = "a host";

    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new(Self::WHAT, text, why);
        if text.contains(':') {
            let address = canonical_v6(text).map_err(refuse)?;
            return Ok(Self {
                text: text.into(),
                address: Some(IpAddr::V6(address)),
            });
        }
        check_labels(text).map_err(refuse)?;
        if looks_numeric(text) {
            let address: Ipv4Addr = text
                .parse()
                .map_err(|_| refuse("an ipv4 address must be four plain decimal numbers"))?;
            return Ok(Self {
                text: text.into(),
                address: Some(IpAddr::V4(address)),
            });
        }
        Ok(Self {
            text: text.into(),
            address: None,
        })
    }

    /// The address, when the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(crate) fn is_v6(&self) -> bool {
        matches!(self.address, Some(IpAddr::V6(_)))
    }

    /// `host:port`, with an IPv6 address in brackets.
    pub fn with_port(&self, port: Port) -> String {
        format!("{}:{port}", self.in_url())
    }

    /// The host as a URL has it: an IPv6 address stands in brackets.
    pub(crate) fn in_url(&self) -> String {
        if self.is_v6() {
            format!("[{self}]")
        } else {
            self.to_string()
        }
    }
}

fn canonical_v6(text: &str) -> Result<Ipv6Addr, &'static str> {
    let address: Ipv6Addr = text
        .parse()
        .map_err(|_| "it is neither a name nor an address")?;
    if address.to_ipv4_mapped().is_some() {
        return Err("an ipv4 address must not be spelled as ipv6");
    }
    if address.to_string() != text {
        return Err("an ipv6 address must be in its shortest spelling, in lower case");
    }
    Ok(address)
}

fn check_labels(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 253 {
        return Err("it is longer than 253 characters");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err("it has an empty label or a dot at an end");
        }
        if label.len() > 63 {
            return Err("a label of it is longer than 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label of it begins or ends with `-`");
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !label.bytes().all(allowed) {
            return Err("only lower-case letters, digits, `-` and `.` are allowed");
        }
    }
    Ok(())
}

/// Whether some resolver would take this for an IPv4 address: its last label is a number,
/// decimal or hexadecimal. No top-level domain is.
fn looks_numeric(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    last.strip_prefix("0x")
        .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A domain of a grant or a scope: `example.com` is that host only, `*.example.com` its
/// subdomains only.
#[derive(Clone)]
pub struct Domain {
    text: Arc<str>,
    wildcard: bool,
}
text_type!(Domain);

impl Domain {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a domain", text, why);
        let wildcard = text.starts_with("*.");
        let host = text.strip_prefix("*.").unwrap_or(text);
        if host.contains('*') {
            return Err(refuse(
                "`*` may only stand for whole labels at its beginning, as `*.`",
            ));
        }
        let host = Host::parse(host).map_err(|error| refuse(error.why()))?;
        if wildcard && host.address.is_some() {
            return Err(refuse("an address has no subdomains"));
        }
        Ok(Self {
            text: text.into(),
            wildcard,
        })
    }

    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub fn matches(&self, host: &Host) -> bool {
        match self.text.strip_prefix('*') {
            // The dot stays in the suffix, so that `notexample.com` is no subdomain.
            Some(suffix) => host.text.len() > suffix.len() && host.text.ends_with(suffix),
            None => self.text == host.text,
        }
    }
}

/// A TCP port; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    pub const HTTPS: Self = Self(NonZeroU16::MIN.saturating_add(442));
    pub const HTTP: Self = Self(NonZeroU16::MIN.saturating_add(79));

    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Port {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || SpellingError::new("a port", text, "it must be a number from 1 to 65535");
        // `u16::from_str` would take `+443` and `0443` as well.
        if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        text.parse().ok().map(Self).ok_or_else(refuse)
    }
}

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn default_port(self) -> Port {
        match self {
            Self::Http => Port::HTTP,
            Self::Https => Port::HTTPS,
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
