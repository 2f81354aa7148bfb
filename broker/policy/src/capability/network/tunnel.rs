//! Tunnels: connections whose bytes the broker passes on.

use std::borrow::Cow;
use std::sync::Arc;

use super::destination::{Destination, NetworkFound};
use super::reach;
use crate::capability::sealed::Judge;
use crate::capability::{Capability, Permit};
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::host::{Host, Port};
use crate::ids::ComponentId;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::{NetworkRule, Slot};
use crate::url;

/// Marker of what `CONNECT` asks for.
#[derive(Debug)]
pub enum Tunnel {}

/// What may pass through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelForm {
    /// TLS whose hello names the granted host.
    Tls,
    /// The same, and the broker ends it: each request inside is decided.
    Intercepted,
    /// Plain HTTP to this host and port, each request of which is decided.
    Http,
    /// Any bytes, because the grant's `tcp` names this host and port.
    Raw,
}

impl TunnelForm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Intercepted => "intercepted",
            Self::Http => "http",
            Self::Raw => "tcp",
        }
    }

    /// Whether what passes must begin with a TLS hello for the granted host.
    pub fn begins_with_hello(self) -> bool {
        matches!(self, Self::Tls | Self::Intercepted)
    }
}

/// One tunnel to one host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelAsk {
    host: Host,
    port: Port,
    form: Option<TunnelForm>,
}

impl TunnelAsk {
    /// Reads `host:port`, the target of a `CONNECT`; an IPv6 address stands in brackets.
    pub fn parse(authority: &str) -> Result<Self, Denial> {
        let (host, port) = url::split_authority(authority).map_err(Denial::bad_request)?;
        let port = port.ok_or_else(|| {
            Denial::bad_request("a tunnel needs a port after its host, as in `example.com:443`")
        })?;
        Ok(Self::new(host, port))
    }

    pub fn new(host: Host, port: Port) -> Self {
        Self {
            host,
            port,
            form: None,
        }
    }

    /// The same tunnel once it is open: from then on it is allowed only in this form, so that one
    /// that carries anything does not outlive the `tcp` entry that opened it.
    pub fn open_as(&self, form: TunnelForm) -> Self {
        Self {
            form: Some(form),
            ..self.clone()
        }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn port(&self) -> Port {
        self.port
    }

    pub fn authority(&self) -> String {
        self.host.with_port(self.port)
    }

    /// The host as a `Host` header without a port has it.
    pub fn bare_host(&self) -> String {
        self.host.in_url()
    }
}

#[derive(Debug)]
pub struct TunnelTerms {
    rule: Arc<NetworkRule>,
    form: TunnelForm,
}

impl TunnelTerms {
    pub fn form(&self) -> TunnelForm {
        self.form
    }

    /// How long it may take to connect.
    pub fn timeout_ms(&self) -> u64 {
        self.rule.timeout_ms
    }
}

/// What the component sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Nothing was read, because what comes first does not matter.
    Unread,
    /// A TLS hello, with the name it asks for.
    Tls(Option<String>),
    /// Something that is no TLS hello.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelFound {
    pub network: NetworkFound,
    pub hello: Hello,
}

impl Permit<Tunnel> {
    /// Judges the addresses before the component is told that its tunnel is open. What this says
    /// is said again by [`Permit::confirm`], which alone allows to dial.
    pub fn check_addresses(&self, found: &NetworkFound) -> Result<(), Denial> {
        let ask = self.ask();
        Destination::judge(&ask.host, ask.port, found).map(drop)
    }
}

impl Capability for Tunnel {
    fn permission(_: &TunnelAsk) -> PermissionName {
        Permission::Network.into()
    }

    fn action(_: &TunnelAsk) -> &'static str {
        "tunnel"
    }

    fn target(ask: &TunnelAsk) -> Cow<'_, str> {
        ask.authority().into()
    }
}

impl Judge for Tunnel {
    type Ask = TunnelAsk;
    type Terms = TunnelTerms;
    type Found = TunnelFound;
    type Confirmed = Destination;
    type Rule = NetworkRule;

    fn slot<'a>(rights: &'a Rights, _: &TunnelAsk) -> Option<&'a Slot<NetworkRule>> {
        Some(&rights.network)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<NetworkRule>,
        ask: &TunnelAsk,
    ) -> Result<TunnelTerms, Denial> {
        let form = reach::admit(caller, rule, &ask.host, ask.port)?;
        if ask.form.is_some_and(|open| open != form) {
            let sentence = format!(
                "a tunnel to `{}` is granted in another form than before",
                ask.authority()
            );
            return Err(Denial::new(Reason::Revoked, sentence));
        }
        Ok(TunnelTerms {
            rule: rule.clone(),
            form,
        })
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &TunnelAsk) -> Option<Remedy> {
        let limits = &scopes.network()?.limits;
        reach::grant_of(caller, limits, &ask.host, ask.port)
            .or_else(|| reach::tcp_of(caller, limits, &ask.host, ask.port))
    }

    fn confirm(
        _: &ComponentId,
        ask: &TunnelAsk,
        terms: &TunnelTerms,
        found: &TunnelFound,
    ) -> Result<Destination, Denial> {
        let destination = Destination::judge(&ask.host, ask.port, &found.network)?;
        if terms.form.begins_with_hello() {
            check_hello(&ask.host, &found.hello)?;
        }
        Ok(destination)
    }

    fn spell(ask: &TunnelAsk, terms: &TunnelTerms, words: &mut Words) {
        let form = terms.form.as_str();
        words
            .say("connect")
            .quote(&ask.authority())
            .say("as")
            .say(form);
    }
}

/// The name is lower-cased by whoever read it, for DNS knows no case; nothing else is repaired.
fn check_hello(host: &Host, hello: &Hello) -> Result<(), Denial> {
    let why = match hello {
        Hello::Tls(Some(name)) if name == host.as_str() => return Ok(()),
        Hello::Tls(Some(_)) => "the TLS hello names another host",
        Hello::Tls(None) => "the TLS hello names no host",
        Hello::Unread | Hello::Other => "what was sent is not TLS",
    };
    let sentence = format!(
        "only TLS for `{host}` may pass this tunnel, and {why}; other protocols need a `tcp` entry \
         in the grant"
    );
    Err(Denial::new(Reason::SniMismatch, sentence))
}
