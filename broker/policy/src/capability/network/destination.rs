//! Where a request or a tunnel goes, once every address of it was judged.

use std::net::IpAddr;

use crate::addresses::{Cidr, judge};
use crate::denial::Denial;
use crate::host::{Host, Port};
use crate::reason::Reason;

/// What the broker found out about a host before it dials anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFound {
    /// Everything the host resolved to; for an address, that address.
    pub addresses: Vec<IpAddr>,
    /// The addresses of this host, read just now.
    pub own: Vec<IpAddr>,
    /// What the admin allows in spite of the table.
    pub exceptions: Vec<Cidr>,
}

/// What may be dialled. Only a confirmation holds one, and nothing in it is resolved again.
#[derive(Debug, PartialEq, Eq)]
pub struct Destination {
    host: Host,
    port: Port,
    addresses: Vec<IpAddr>,
}

impl Destination {
    /// Judges all addresses; one bad one denies the host.
    pub(super) fn judge(host: &Host, port: Port, found: &NetworkFound) -> Result<Self, Denial> {
        let blocked = |detail: String| {
            let sentence = format!("`{host}` leads to an address that is never dialled");
            Denial::new(Reason::BlockedAddress, sentence).with_detail(detail)
        };
        if found.addresses.is_empty() {
            return Err(blocked("it resolved to no address".to_owned()));
        }
        let literal = host.address();
        if literal.is_some_and(|literal| found.addresses.iter().any(|found| *found != literal)) {
            return Err(blocked("an address resolved to something else".to_owned()));
        }
        let judged = found.addresses.iter().map(|address| {
            judge(*address, &found.own, &found.exceptions).map_err(|bad| blocked(bad.to_string()))
        });
        Ok(Self {
            host: host.clone(),
            port,
            addresses: judged.collect::<Result<_, _>>()?,
        })
    }

    /// The host these addresses are of.
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn port(&self) -> Port {
        self.port
    }

    /// What to dial, in the order of the answer; never empty.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Host and port, for messages and as the word after `CONNECT`.
    pub fn authority(&self) -> String {
        self.host.with_port(self.port)
    }
}
