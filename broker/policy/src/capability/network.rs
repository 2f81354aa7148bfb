//! HTTP requests that leave the host.

pub(crate) mod destination;
mod overrides;
mod reach;
pub(crate) mod resolve;
pub(crate) mod tunnel;

use std::borrow::Cow;
use std::sync::Arc;

use super::Capability;
use super::sealed::Judge;
use crate::compile::{Rights, Scopes};
use crate::denial::{Denial, Remedy};
use crate::exact::Words;
use crate::grant::InjectedHeader;
use crate::host::{Host, Port, Scheme};
use crate::ids::ComponentId;
use crate::method::HttpMethod;
use crate::permission::{Permission, PermissionName};
use crate::reason::Reason;
use crate::rules::injections::{Headers, Injection};
use crate::rules::{NetworkRule, Slot};
use crate::template::Template;
use crate::url;
use destination::{Destination, NetworkFound};
use overrides::Overrides;

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
    overrides: Overrides,
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
            overrides: Overrides::default(),
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
            overrides: Overrides::default(),
        })
    }

    /// The same request with headers of these names; some tell a server another method or path.
    #[must_use]
    pub fn with_headers<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.overrides = Overrides::among(names);
        self
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
        if self.port == self.scheme.default_port() {
            self.host.in_url()
        } else {
            self.host.with_port(self.port)
        }
    }

    /// Whether a `Host` header names this request's host and port.
    pub fn is_authority(&self, text: &str) -> bool {
        let named = url::split_authority(text);
        named.is_ok_and(|(host, port)| {
            host == self.host && port.unwrap_or(self.scheme.default_port()) == self.port
        })
    }

    /// What the log and the grant's globs see: the path without its query.
    pub fn path(&self) -> &str {
        let path = self.path_and_query.split('?').next();
        path.unwrap_or_default()
    }
}

#[derive(Debug)]
pub struct NetworkTerms {
    rule: Arc<NetworkRule>,
    inject: Option<Headers>,
}

impl NetworkTerms {
    pub fn timeout_ms(&self) -> u64 {
        self.rule.timeout_ms
    }

    pub fn max_response_bytes(&self) -> u64 {
        self.rule.max_response_bytes
    }

    /// Headers to put in the place of whatever the pack sent under these names.
    pub fn inject(&self) -> &[(InjectedHeader, Template)] {
        self.inject.as_deref().unwrap_or_default()
    }
}

impl Capability for Network {
    fn permission(_: &NetworkAsk) -> PermissionName {
        Permission::Network.into()
    }

    fn action(_: &NetworkAsk) -> &'static str {
        "fetch"
    }

    fn target(ask: &NetworkAsk) -> Cow<'_, str> {
        let (authority, path) = (ask.authority(), ask.path());
        format!("{} {}://{authority}{path}", ask.method, ask.scheme).into()
    }
}

impl Judge for Network {
    type Ask = NetworkAsk;
    type Terms = NetworkTerms;
    type Found = NetworkFound;
    type Confirmed = Destination;
    type Rule = NetworkRule;

    fn slot<'a>(rights: &'a Rights, _: &NetworkAsk) -> Option<&'a Slot<NetworkRule>> {
        Some(&rights.network)
    }

    fn ask(
        caller: &ComponentId,
        rule: &Arc<NetworkRule>,
        ask: &NetworkAsk,
    ) -> Result<NetworkTerms, Denial> {
        reach::check_host(&rule.limits, &ask.host)?;
        reach::check_port(&rule.limits, ask.port)?;
        let method_fits = rule.methods.contains(&ask.method);
        let path = check_path(rule, ask);
        reach::check_domain(rule, &ask.host, ask.port, || {
            let remedy = reach::grant_of(caller, &rule.limits, &ask.host, ask.port);
            remedy.filter(|_| method_fits && path.is_ok())
        })?;
        if !method_fits {
            let sentence = format!(
                "the method `{}` was not granted to this component",
                ask.method
            );
            return Err(Denial::new(Reason::MethodNotAllowed, sentence));
        }
        path?;
        ask.overrides.check(rule.narrowed)?;
        let inject = match rule.inject.of(ask.scheme, &ask.host) {
            Injection::Nothing => None,
            Injection::Headers(headers) => Some(headers),
            Injection::OnlyOverTls => {
                let sentence = format!(
                    "requests to `{}` carry a secret, which goes over https only; ask with `https://`",
                    ask.host
                );
                return Err(Denial::new(Reason::DomainNotAllowed, sentence).with_detail(
                    "`inject` of the grant names this host; `http://HOST` there would allow plain HTTP",
                ));
            }
        };
        Ok(NetworkTerms {
            rule: rule.clone(),
            inject,
        })
    }

    fn remedy(scopes: &Scopes, caller: &ComponentId, ask: &NetworkAsk) -> Option<Remedy> {
        let scope = scopes.network()?;
        let remedy = reach::grant_of(caller, &scope.limits, &ask.host, ask.port);
        remedy.filter(|_| scope.methods.contains(&ask.method))
    }

    fn confirm(
        _: &ComponentId,
        ask: &NetworkAsk,
        _: &NetworkTerms,
        found: &NetworkFound,
    ) -> Result<Destination, Denial> {
        Destination::judge(&ask.host, ask.port, found)
    }

    fn spell(ask: &NetworkAsk, terms: &NetworkTerms, words: &mut Words) {
        let (authority, rest) = (ask.authority(), &ask.path_and_query);
        let url = format!("{}://{authority}{rest}", ask.scheme);
        words.say("fetch").quote(ask.method.as_str()).quote(&url);
        for (header, _) in terms.inject() {
            words.say("carrying").quote(header.as_str());
        }
        for header in ask.overrides.names() {
            // What stands in it is known to the server alone.
            words.say("with").say(header).leaves_out();
        }
    }
}

fn check_path(rule: &NetworkRule, ask: &NetworkAsk) -> Result<(), Denial> {
    let Some(paths) = &rule.paths else {
        return Ok(());
    };
    let path = ask.path();
    let refuse = |sentence: String| Err(Denial::new(Reason::PathNotAllowed, sentence));
    if let Some(why) = url::ambiguity(path) {
        return refuse(format!(
            "the grant narrows `paths`, and this path {why}, which servers read in more than one way"
        ));
    }
    if !paths.is_match(path) {
        return refuse("this path of the host was not granted to this component".to_owned());
    }
    Ok(())
}
