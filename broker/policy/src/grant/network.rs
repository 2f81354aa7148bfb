//! The permission `network` in a grant.

use std::sync::Arc;

use serde::Serialize;

use super::inject::{self, Inject};
use super::{Wish, enabled, required_list};
use crate::conditions::Conditions;
use crate::host::{Domain, Host, Port};
use crate::json::{Fields, JsonError, Node};
use crate::method::HttpMethod;
use crate::path_glob::PathGlob;
use crate::spelling::{SpellingError, text_type};
use crate::url;

#[derive(Clone, Debug, Serialize)]
pub struct NetworkGrant {
    pub enabled: bool,
    pub allowed_domains: Vec<DomainEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_ports: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<HttpMethod>>,
    /// Where given, the path of a request must match one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<PathGlob>>,
    /// Hosts and ports to which a connection may carry anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Vec<TcpEntry>>,
    /// Headers that the broker adds, with secrets that the pack never sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject: Option<Inject>,
    /// Hosts whose TLS the broker ends, so that it sees the requests of plain clients too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intercept: Option<Vec<Host>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_response_bytes: Option<u64>,
    #[serde(flatten)]
    pub conditions: Conditions,
}

pub(super) fn read(mut fields: Fields, wish: Wish) -> Result<NetworkGrant, JsonError> {
    let enabled = enabled(&mut fields, wish)?;
    let allowed_domains: Vec<DomainEntry> = required_list(&mut fields, "allowed_domains")?;
    // A pack wishes for neither: secrets, and a look into TLS, are the admin's to give.
    let (mut inject, mut intercept) = (None, None);
    if wish == Wish::Granted {
        inject = inject::read(&mut fields, &allowed_domains)?;
        intercept = inject::intercepted(&mut fields, &allowed_domains)?;
    }
    let grant = NetworkGrant {
        enabled,
        allowed_domains,
        inject,
        intercept,
        allowed_ports: ports(&mut fields, "allowed_ports")?,
        methods: fields.list("methods")?,
        paths: fields.list("paths")?,
        tcp: fields.list("tcp")?,
        timeout_ms: fields.number("timeout_ms", u64::MAX)?,
        max_response_bytes: fields.number("max_response_bytes", u64::MAX)?,
        conditions: Conditions::read(&mut fields, wish)?,
    };
    fields.finish()?;
    Ok(grant)
}

/// A list of ports as JSON numbers.
pub(crate) fn ports(fields: &mut Fields, key: &'static str) -> Result<Option<Vec<u16>>, JsonError> {
    fields.list_with(key, |node| {
        let number = match &node {
            Node::Number(number) => number.as_u64(),
            _ => None,
        };
        let port = number
            .and_then(|number| u16::try_from(number).ok())
            .and_then(Port::new);
        port.map(Port::get)
            .ok_or_else(|| "a port must be a number from 1 to 65535".to_owned())
    })
}

/// An entry of `allowed_domains`: a domain, for the grant's ports or for one port of its own.
#[derive(Clone)]
pub struct DomainEntry {
    text: Arc<str>,
    domain: Domain,
    port: Option<Port>,
}
text_type!(DomainEntry);

impl DomainEntry {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("an allowed domain", text, why);
        let (domain, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest
                .split_once("]:")
                .ok_or_else(|| refuse("after `]` a port must follow, as in `[2001:db8::1]:443`"))?;
            if !host.contains(':') {
                return Err(refuse("only an ipv6 address stands in brackets"));
            }
            (host, Some(port))
        } else {
            match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            }
        };
        let domain: Domain = domain
            .parse()
            .map_err(|error: SpellingError| refuse(error.why()))?;
        let port = port.map(str::parse).transpose();
        let port = port.map_err(|error: SpellingError| refuse(error.why()))?;
        Ok(Self {
            text: text.into(),
            domain,
            port,
        })
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    pub fn port(&self) -> Option<Port> {
        self.port
    }
}

/// An entry of `tcp`: one host and one port of it.
#[derive(Clone)]
pub struct TcpEntry {
    text: Arc<str>,
    host: Host,
    port: Port,
}
text_type!(TcpEntry);

impl TcpEntry {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse =
            |why: String| SpellingError::new("a `tcp` entry of the form `host:port`", text, why);
        if text.contains('*') {
            return Err(refuse(
                "it names one host; there are no wildcards".to_owned(),
            ));
        }
        let (host, port) = url::split_authority(text).map_err(refuse)?;
        let port = port.ok_or_else(|| refuse("the port is missing".to_owned()))?;
        Ok(Self {
            text: text.into(),
            host,
            port,
        })
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn port(&self) -> Port {
        self.port
    }
}
