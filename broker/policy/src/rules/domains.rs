//! The domains of a network grant.

use std::collections::HashMap;

use crate::grant::DomainEntry;
use crate::host::{Host, Port};

/// Allowed domains by name, so that a long list costs no more than a short one.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    exact: HashMap<Box<str>, Vec<Option<Port>>>,
    /// By `.example.com` for `*.example.com`.
    suffixes: HashMap<Box<str>, Vec<Option<Port>>>,
}

/// What a list of domains says about a host at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    OtherPort,
    Unknown,
}

impl Domains {
    pub(crate) fn new(entries: &[DomainEntry]) -> Self {
        let mut domains = Self::default();
        for entry in entries {
            let text = entry.domain().as_str();
            let (map, key) = match text.strip_prefix('*') {
                Some(suffix) => (&mut domains.suffixes, suffix),
                None => (&mut domains.exact, text),
            };
            map.entry(key.into()).or_default().push(entry.port());
        }
        domains
    }

    /// `ports` are those of entries that name none of their own.
    pub(crate) fn judge(&self, host: &Host, port: Port, ports: &[Port]) -> Verdict {
        let mut verdict = Verdict::Unknown;
        for entry in self.matching(host) {
            let allowed = entry.map_or_else(|| ports.contains(&port), |own| own == port);
            if allowed {
                return Verdict::Allowed;
            }
            verdict = Verdict::OtherPort;
        }
        verdict
    }

    /// The ports that entries for this host stand for, in no order.
    pub(crate) fn ports(&self, host: &Host, ports: &[Port]) -> Vec<Port> {
        let mut found = Vec::new();
        for entry in self.matching(host) {
            match entry {
                Some(own) => found.push(own),
                None => found.extend_from_slice(ports),
            }
        }
        found
    }

    fn matching<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = Option<Port>> + 'a {
        let text = host.as_str();
        let dots = text.match_indices('.').filter(|_| host.address().is_none());
        let suffixes = dots
            .filter_map(|(at, _)| self.suffixes.get(text.get(at..)?))
            .flatten();
        self.exact
            .get(text)
            .into_iter()
            .flatten()
            .chain(suffixes)
            .copied()
    }
}
