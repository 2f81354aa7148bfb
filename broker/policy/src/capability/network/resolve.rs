//! Which ports of a name may be opened: what a component is told instead of a DNS answer.

use std::borrow::Cow;
use std::sync::Arc;

use super::reach;
use crate::capability::Capability;
use crate::capability::sealed::Judge;
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::host::{Host, Port};
use crate::ids::ComponentId;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::{NetworkRule, Slot};

/// Marker of the question. It has no effect: nothing is looked up for it, and nothing dialled.
#[derive(Debug)]
pub enum Resolve {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveAsk {
    host: Host,
}

impl ResolveAsk {
    pub fn parse(host: &str) -> Result<Self, Denial> {
        let host = host
            .parse::<Host>()
            .map_err(|error| Denial::bad_request(error.to_string()))?;
        Ok(Self { host })
    }

    pub fn host(&self) -> &Host {
        &self.host
    }
}

#[derive(Debug)]
pub struct ResolveTerms {
    ports: Vec<Port>,
}

impl ResolveTerms {
    /// The ports to which a tunnel would be allowed, ascending; never empty.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }
}

impl Capability for Resolve {
    fn permission(_: &ResolveAsk) -> PermissionName {
        Permission::Network.into()
    }

    fn action(_: &ResolveAsk) -> &'static str {
        "resolve"
    }

    fn target(ask: &ResolveAsk) -> Cow<'_, str> {
        ask.host.as_str().into()
    }

    /// Nothing is looked up for it: what is used is the tunnel that may follow.
    fn is_use(_: &ResolveAsk) -> bool {
        false
    }
}

impl Judge for Resolve {
    type Ask = ResolveAsk;
    type Terms = ResolveTerms;
    type Found = ();
    type Confirmed = ();
    type Rule = NetworkRule;

    const IS_ASKED_ABOUT: bool = false;

    fn slot<'a>(rights: &'a Rights, _: &ResolveAsk) -> Option<&'a Slot<NetworkRule>> {
        Some(&rights.network)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<NetworkRule>,
        ask: &ResolveAsk,
    ) -> Result<ResolveTerms, Denial> {
        reach::check_host(&rule.limits, &ask.host)?;
        let mut candidates = rule.domains.ports(&ask.host, &rule.ports);
        candidates.extend(rule.tcp.ports(&ask.host));
        candidates.sort_unstable();
        candidates.dedup();
        let mut refused = None;
        let mut ports = Vec::with_capacity(candidates.len());
        for port in candidates {
            match reach::admit(caller, rule, &ask.host, port) {
                Ok(_) => ports.push(port),
                Err(denial) => {
                    refused.get_or_insert(denial);
                }
            }
        }
        if !ports.is_empty() {
            return Ok(ResolveTerms { ports });
        }
        Err(refused.unwrap_or_else(|| {
            let sentence = format!("the host `{}` was not granted to this component", ask.host);
            Denial::new(Reason::DomainNotAllowed, sentence).with_remedy(reach::grant_of(
                caller,
                &rule.limits,
                &ask.host,
                Port::HTTPS,
            ))
        }))
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &ResolveAsk) -> Option<Remedy> {
        reach::grant_of(caller, &scopes.network()?.limits, &ask.host, Port::HTTPS)
    }

    fn confirm(_: &ComponentId, _: &ResolveAsk, _: &ResolveTerms, (): &()) -> Result<(), Denial> {
        Ok(())
    }

    fn spell(ask: &ResolveAsk, _: &ResolveTerms, words: &mut Words) {
        words.say("resolve").quote(ask.host.as_str());
    }
}
