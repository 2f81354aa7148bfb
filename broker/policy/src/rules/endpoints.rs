//! The `tcp` entries of a network grant.

use std::collections::HashMap;

use crate::grant::TcpEntry;
use crate::host::{Host, Port};

/// Hosts with the ports to which a connection may carry anything.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    by_host: HashMap<Box<str>, Vec<Port>>,
}

impl Endpoints {
    pub(crate) fn new(entries: &[TcpEntry]) -> Self {
        let mut endpoints = Self::default();
        for entry in entries {
            let key = entry.host().as_str().into();
            endpoints.by_host.entry(key).or_default().push(entry.port());
        }
        endpoints
    }

    pub(crate) fn ports(&self, host: &Host) -> &[Port] {
        self.by_host.get(host.as_str()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn contains(&self, host: &Host, port: Port) -> bool {
        self.ports(host).contains(&port)
    }
}
