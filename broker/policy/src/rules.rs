//! What grants and scopes become once they are read: rules that answer without parsing,
//! allocating or comparing more than they must.

pub(crate) mod domains;
pub(crate) mod endpoints;
pub(crate) mod forbidden;
pub(crate) mod globs;
pub(crate) mod injections;
pub(crate) mod roots;

use std::collections::HashSet;
use std::sync::Arc;

use crate::conditions::Conditions;
use crate::grant::{AllowedCommand, Command, TerminalMode};
use crate::host::{Domain, Host, Port};
use crate::ids::EnvKey;
use crate::method::HttpMethod;
use crate::path::AbsPath;
use crate::quota::Quota;
use crate::reason::Reason;
use crate::template::Template;
use domains::Domains;
use endpoints::Endpoints;
use forbidden::Forbidden;
use globs::Globs;
use globset::GlobSet;
use roots::Roots;

impl FileRule {
    /// Whether this very path was granted by itself.
    pub(crate) fn names(&self, path: &AbsPath) -> bool {
        self.files.binary_search(path).is_ok()
    }
}

/// A number no request may exceed, and whose number it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    pub(crate) value: u64,
    pub(crate) reason: Reason,
}

impl Ceiling {
    /// The smaller of what a grant says (or the scope's default, or ours) and the scope's limit.
    pub(crate) fn of(granted: Option<u64>, default: u64, limit: Option<u64>) -> Self {
        let wanted = granted.unwrap_or(default);
        match limit {
            Some(limit) if limit < wanted => Self {
                value: limit,
                reason: Reason::ScopeLimit,
            },
            _ => Self {
                value: wanted,
                reason: Reason::TooLarge,
            },
        }
    }
}

/// What a component has of one permission.
#[derive(Debug)]
pub enum Slot<R> {
    Missing,
    Disabled,
    ScopeInvalid,
    /// What it may ask, and under which conditions; there are none for most.
    Ready(Arc<R>, Option<Arc<Conditions>>),
}

impl<R> Slot<R> {
    pub(crate) fn ready(rule: R, conditions: &Conditions) -> Self {
        let conditions = (!conditions.is_none()).then(|| Arc::new(conditions.clone()));
        Self::Ready(Arc::new(rule), conditions)
    }
}

#[derive(Debug)]
pub struct FileRule {
    pub(crate) roots: Roots,
    /// Paths that are granted by themselves, sorted.
    pub(crate) files: Vec<AbsPath>,
    pub(crate) globs: Globs,
    pub(crate) max_bytes: Ceiling,
    /// What writing may add up to.
    pub(crate) quota: Quota,
    /// Whether the kernel may read files by itself once they are open.
    pub(crate) passthrough: bool,
    pub(crate) limits: Arc<FileLimits>,
}

#[derive(Debug)]
pub struct EnvRule {
    pub(crate) keys: Vec<EnvKey>,
    pub(crate) max_bytes: Ceiling,
    pub(crate) limits: Arc<EnvLimits>,
}

#[derive(Debug)]
pub struct TerminalRule {
    pub(crate) roots: Roots,
    pub(crate) commands: Vec<AllowedCommand>,
    pub(crate) env: Vec<(EnvKey, Template)>,
    pub(crate) mode: TerminalMode,
    pub(crate) timeout_ms: u64,
    pub(crate) max_output_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) limits: Arc<TerminalLimits>,
}

#[derive(Debug)]
pub struct NetworkRule {
    pub(crate) domains: Domains,
    pub(crate) ports: Vec<Port>,
    pub(crate) tcp: Endpoints,
    pub(crate) methods: Vec<HttpMethod>,
    /// Where given, the path of a request must match one of them.
    pub(crate) paths: Option<GlobSet>,
    pub(crate) narrowed: Narrowed,
    pub(crate) inject: injections::Injections,
    pub(crate) intercept: HashSet<Host>,
    pub(crate) timeout_ms: u64,
    pub(crate) max_response_bytes: u64,
    pub(crate) limits: Arc<NetworkLimits>,
}

/// A handler's configuration, merged once for all calls.
#[derive(Debug)]
pub struct CustomRule {
    /// A JSON object; or why the grant's does not fit the scope.
    pub(crate) config: Result<Box<str>, String>,
    /// Whether there is a scope.
    pub(crate) scoped: bool,
}

/// What a grant says about requests that cannot be seen inside TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Narrowed {
    pub(crate) methods: bool,
    pub(crate) paths: bool,
}

/// The scope's side of file rules.
#[derive(Debug)]
pub(crate) struct FileLimits {
    pub(crate) forbidden: Forbidden,
}

#[derive(Debug)]
pub(crate) struct EnvLimits {
    pub(crate) forbidden: Vec<KeyPattern>,
}

#[derive(Debug)]
pub(crate) struct TerminalLimits {
    pub(crate) forbidden: Forbidden,
    pub(crate) forbidden_commands: Vec<Command>,
    pub(crate) allow_host_mode: bool,
}

#[derive(Debug)]
pub(crate) struct NetworkLimits {
    pub(crate) forbidden: Vec<Domain>,
    pub(crate) forbidden_ports: HashSet<Port>,
    /// Ports that not even a `tcp` entry opens.
    pub(crate) forbidden_tcp_ports: HashSet<Port>,
}

/// An environment key, or the beginning of some: `RUMI_*`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyPattern {
    text: String,
}

impl std::str::FromStr for KeyPattern {
    type Err = crate::spelling::SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let _: EnvKey = stem.parse()?;
        Ok(Self {
            text: text.to_owned(),
        })
    }
}

impl KeyPattern {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn matches(&self, key: &EnvKey) -> bool {
        match self.text.strip_suffix('*') {
            Some(stem) => key.as_str().starts_with(stem),
            None => key.as_str() == self.text,
        }
    }
}
