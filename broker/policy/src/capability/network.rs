//! HTTP requests that leave the host.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::Capability;
use super::sealed::Judge;
use crate::addresses::{Cidr, judge};
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::host::{Host, Port, Scheme};
use crate::ids::ComponentId;
use crate::method::HttpMethod;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::domains::Verdict;
use crate::rules::{NetworkLimits, NetworkRule, Slot};
use crate::url;

/// Marker of the permission `network`.
#[derive(Debug)]
pub enum Network {}

/// One request to one host. A redirect is another request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAsk {
    method: HttpMethod,
    scheme: Scheme,
    host: Host,
    port: Port,
    path_and_query: String,
}

impl NetworkAsk {
    pub fn parse(method: &str, url: &str) -> Result<Self, Denial> {
        let method = method
            .parse::<HttpMethod>()
            .map_err(|error| Denial::bad_request(error.to_string()))?;
        let parts = url::split(url).map_err(Denial::bad_request)?;
        Ok(Self {
            method,
            scheme: parts.scheme,
            host: parts.host,
            port: parts.port,
            path_and_query: parts.path_and_query,
        })
    }

    pub fn new(
        method: HttpMethod,
        scheme: Scheme,
        host: Host,
        port: Port,
        path_and_query: &str,
    ) -> Result<Self, Denial> {
        url::check_path_and_query(path_and_query).map_err(Denial::bad_request)?;
        Ok(Self {
            method,
            scheme,
            host,
            port,
            path_and_query: path_and_query.to_owned(),
        })
    }

    pub fn method(&self) -> &HttpMethod {
        &self.method
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn port(&self) -> Port {
        self.port
    }

    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Host and port as a `Host` header has them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.is_v6() {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        if self.port == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

#[derive(Debug)]
pub struct NetworkTerms {
    rule: Arc<NetworkRule>,
}

impl NetworkTerms {
    pub fn timeout_ms(&self) -> u64 {
        self.rule.timeout_ms
    }

    pub fn max_response_bytes(&self) -> u64 {
        self.rule.max_response_bytes
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFound {
    /// Everything the host resolved to; for an address, that address.
    pub addresses: Vec<IpAddr>,
    /// The addresses of this host, read just now.
    pub own: Vec<IpAddr>,
    /// What the admin allows in spite of the table.
    pub exceptions: Vec<Cidr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFacts {
    /// What to dial, in the order of the answer; never empty. Nothing is resolved again.
    pub addresses: Vec<IpAddr>,
}

impl Capability for Network {
    fn permission(_: &NetworkAsk) -> PermissionName {
        Permission::Network.into()
    }

    fn action(_: &NetworkAsk) -> &'static str {
        "fetch"
    }

    fn target(ask: &NetworkAsk) -> Cow<'_, str> {
        let path = ask.path_and_query.split('?').next().unwrap_or_default();
        format!("{} {}://{}{path}", ask.method, ask.scheme, ask.authority()).into()
    }
}

impl Judge for Network {
    type Ask = NetworkAsk;
    type Terms = NetworkTerms;
    type Found = NetworkFound;
    type Confirmed = NetworkFacts;
    type Rule = NetworkRule;

    fn slot<'a>(rights: &'a Rights, _: &NetworkAsk) -> Option<&'a Slot<NetworkRule>> {
        Some(&rights.network)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<NetworkRule>,
        ask: &NetworkAsk,
    ) -> Result<NetworkTerms, Denial> {
        check_limits(&rule.limits, ask)?;
        let method_fits = rule.methods.contains(&ask.method);
        let remedy = || {
            let remedy = grant_of(caller, &rule.limits, ask);
            remedy.filter(|_| method_fits)
        };
        match rule.domains.judge(&ask.host, ask.port, &rule.ports) {
            Verdict::Allowed => {}
            Verdict::OtherPort => {
                let sentence = format!(
                    "port {} of `{}` was not granted to this component",
                    ask.port, ask.host
                );
                return Err(Denial::new(Reason::PortNotAllowed, sentence).with_remedy(remedy()));
            }
            Verdict::Unknown => {
                let sentence = format!("the host `{}` was not granted to this component", ask.host);
                return Err(Denial::new(Reason::DomainNotAllowed, sentence).with_remedy(remedy()));
            }
        }
        if !method_fits {
            let sentence = format!(
                "the method `{}` was not granted to this component",
                ask.method
            );
            return Err(Denial::new(Reason::MethodNotAllowed, sentence));
        }
        Ok(NetworkTerms { rule: rule.clone() })
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &NetworkAsk) -> Option<Remedy> {
        let scope = scopes.network()?;
        let remedy = grant_of(caller, &scope.limits, ask);
        remedy.filter(|_| scope.methods.contains(&ask.method))
    }

    fn confirm(
        _: &ComponentId,
        ask: &NetworkAsk,
        _: &NetworkTerms,
        found: &NetworkFound,
    ) -> Result<NetworkFacts, Denial> {
        let blocked = |detail: String| {
            let sentence = format!("`{}` leads to an address that is never dialled", ask.host);
            Denial::new(Reason::BlockedAddress, sentence).with_detail(detail)
        };
        if found.addresses.is_empty() {
            return Err(blocked("it resolved to no address".to_owned()));
        }
        let literal = ask.host.address();
        if literal.is_some_and(|literal| found.addresses.iter().any(|found| *found != literal)) {
            return Err(blocked("an address resolved to something else".to_owned()));
        }
        let judged = found.addresses.iter().map(|address| {
            judge(*address, &found.own, &found.exceptions).map_err(|bad| blocked(bad.to_string()))
        });
        Ok(NetworkFacts {
            addresses: judged.collect::<Result<_, _>>()?,
        })
    }
}

fn check_limits(limits: &NetworkLimits, ask: &NetworkAsk) -> Result<(), Denial> {
    if let Some(entry) = limits
        .forbidden
        .iter()
        .find(|domain| domain.matches(&ask.host))
    {
        let sentence = format!(
            "the host `{}` is out of bounds for every component",
            ask.host
        );
        return Err(Denial::new(Reason::ForbiddenByScope, sentence)
            .with_detail(format!("`{entry}` is forbidden to all by the scope")));
    }
    if limits.forbidden_ports.contains(&ask.port) {
        let sentence = format!("port {} is out of bounds for every component", ask.port);
        return Err(Denial::new(Reason::ForbiddenByScope, sentence)
            .with_detail("`forbidden_ports` of the scope lists it"));
    }
    Ok(())
}

fn grant_of(caller: &ComponentId, limits: &NetworkLimits, ask: &NetworkAsk) -> Option<Remedy> {
    check_limits(limits, ask).ok()?;
    let value = if ask.host.is_v6() {
        format!("[{}]:{}", ask.host, ask.port)
    } else if ask.port == Port::HTTPS {
        ask.host.to_string()
    } else {
        format!("{}:{}", ask.host, ask.port)
    };
    Some(Remedy::grant_add(caller, Permission::Network, [value]))
}
