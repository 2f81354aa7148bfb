//! Headers that the broker adds to requests, with secrets that the pack never sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::grant::DomainEntry;
use crate::host::{Host, Scheme};
use crate::json::{Fields, JsonError};
use crate::spelling::{SpellingError, excerpt, text_type};
use crate::template::Template;

/// Headers that steer the connection, or say where a message ends or goes.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// No API wants more.
const MOST_HEADERS: usize = 16;

/// What is added to the requests to each host.
pub type Inject = BTreeMap<InjectHost, BTreeMap<InjectedHeader, Template>>;

/// A host that headers are added for: as `host` over https, as `http://host` over plain HTTP.
#[derive(Clone)]
pub struct InjectHost {
    text: Arc<str>,
    host: Host,
    scheme: Scheme,
}
text_type!(InjectHost);

impl InjectHost {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a host to add headers for", text, why);
        let (host, scheme) = match text.strip_prefix("http://") {
            Some(host) => (host, Scheme::Http),
            None if text.starts_with("https://") => {
                return Err(refuse("https is meant anyway; leave `https://` out"));
            }
            None => (text, Scheme::Https),
        };
        if host.contains('*') {
            return Err(refuse("a secret is for one host; there are no wildcards"));
        }
        let host = host
            .parse()
            .map_err(|error: SpellingError| refuse(error.why()))?;
        Ok(Self {
            text: text.into(),
            host,
            scheme,
        })
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// The name of a header that the broker may add, in lower case.
#[derive(Clone)]
pub struct InjectedHeader {
    text: Arc<str>,
}
text_type!(InjectedHeader);

impl InjectedHeader {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a header to add", text, why);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || text.len() > 100 {
            return Err(refuse("a name has 1 to 100 characters"));
        }
        if !text.bytes().all(token) {
            return Err(refuse("a name is letters, digits and hyphens"));
        }
        let lower = text.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            return Err(refuse(
                "it steers the connection and is the broker's to set",
            ));
        }
        Ok(Self { text: lower.into() })
    }
}

pub(super) fn read(
    fields: &mut Fields,
    domains: &[DomainEntry],
) -> Result<Option<Inject>, JsonError> {
    let Some(node) = fields.take("inject") else {
        return Ok(None);
    };
    let mut hosts = Fields::open(fields.name("inject"), node)?;
    let mut inject = Inject::new();
    for (name, node) in hosts.drain() {
        let host: InjectHost = name
            .parse()
            .map_err(|error: SpellingError| hosts.error(&name, error.to_string()))?;
        covered(&hosts, &name, host.host(), domains)?;
        let headers = read_headers(Fields::open(hosts.name(&name), node)?)?;
        inject.insert(host, headers);
    }
    Ok(Some(inject))
}

/// Hosts whose TLS the broker ends for plain clients.
pub(super) fn intercepted(
    fields: &mut Fields,
    domains: &[DomainEntry],
) -> Result<Option<Vec<Host>>, JsonError> {
    let hosts: Option<Vec<Host>> = fields.list("intercept")?;
    for (index, host) in hosts.iter().flatten().enumerate() {
        let key = format!("intercept[{index}]");
        if host.address().is_some() {
            let message = format!("`{host}` is an address; TLS names hosts");
            return Err(fields.error(&key, message));
        }
        covered(fields, &key, host, domains)?;
    }
    Ok(hosts)
}

/// What names a host that is not granted was meant otherwise.
fn covered(
    fields: &Fields,
    key: &str,
    host: &Host,
    domains: &[DomainEntry],
) -> Result<(), JsonError> {
    if domains.iter().any(|entry| entry.domain().matches(host)) {
        return Ok(());
    }
    let message = format!("`{host}` is not in `allowed_domains`; add it there as well");
    Err(fields.error(key, message))
}

fn read_headers(mut fields: Fields) -> Result<BTreeMap<InjectedHeader, Template>, JsonError> {
    let mut headers = BTreeMap::new();
    for (name, node) in fields.drain() {
        let refuse = |error: SpellingError| fields.error(&name, error.to_string());
        let header: InjectedHeader = name.parse().map_err(refuse)?;
        let value: Template = fields.text(&name, node)?.parse().map_err(refuse)?;
        if !value.as_str().bytes().all(|b| (b' '..=b'~').contains(&b)) {
            let message = "a header's value is visible ASCII and spaces";
            return Err(fields.error(&name, message));
        }
        if headers.insert(header, value).is_some() {
            let message = format!("the header `{}` stands here twice", excerpt(&name));
            return Err(fields.error(&name, message));
        }
    }
    if headers.is_empty() || headers.len() > MOST_HEADERS {
        let message = format!("a host has 1 to {MOST_HEADERS} headers here");
        return Err(JsonError::field(fields.place(), message));
    }
    Ok(headers)
}
