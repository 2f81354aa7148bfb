//! What is asked, and what would be found, in plain words.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Component that asks.
    pub caller: String,
    /// Milliseconds since 1970.
    pub now: u64,
    pub request: Request,
    pub found: Found,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    FileRead {
        action: &'static str,
        path: String,
        offset: u64,
        length: u64,
    },
    FileWrite {
        action: &'static str,
        path: String,
        /// Where a rename goes.
        to: String,
        bytes: u64,
    },
    /// The empty key asks for all.
    Env {
        key: String,
    },
    Terminal {
        argv: Vec<String>,
        directory: String,
        timeout_ms: Option<u64>,
    },
    Fetch {
        method: String,
        url: String,
        headers: Vec<String>,
    },
    Tunnel {
        authority: String,
        /// The form in which it is open already.
        open_as: Option<&'static str>,
    },
    Resolve {
        host: String,
    },
    Custom {
        handler: String,
        bytes: u64,
        depth: u32,
    },
}

impl Request {
    pub fn permission(&self) -> &str {
        match self {
            Self::FileRead { .. } => "file_read",
            Self::FileWrite { .. } => "file_write",
            Self::Env { .. } => "env_read",
            Self::Terminal { .. } => "terminal",
            Self::Fetch { .. } | Self::Tunnel { .. } | Self::Resolve { .. } => "network",
            Self::Custom { handler, .. } => handler,
        }
    }
}

/// What the handler would come upon if the request were allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What lies at the path: `file`, `directory`, `symlink`, `other`, or nothing.
    pub kind: Option<&'static str>,
    pub size: u64,
    pub links: u64,
    /// Where the path leads by links, where it does.
    pub leads_to: Option<String>,
    /// What the kernel calls the granted directory, where that is another name.
    pub root_is: Option<String>,
    /// The same of where a rename goes.
    pub to_kind: Option<&'static str>,
    pub to_leads_to: Option<String>,
    pub in_place: bool,
    pub missing: u64,
    /// Bytes and files that the component has made; nothing where that cannot be told.
    pub usage: Option<(u64, u64)>,
    /// Bytes of the values.
    pub values: u64,
    /// Where the programs of the image lie, by name or path.
    pub programs: BTreeMap<String, String>,
    pub owner: u32,
    pub addresses: Vec<String>,
    pub own: Vec<String>,
    pub exceptions: Vec<String>,
    /// `unread`, `other`, `nameless`, or a name.
    pub hello: String,
    /// `missing`, `refused`, `ready`, or `ready, needs a scope`.
    pub handler: &'static str,
    pub arguments_fit: bool,
}

/// What somebody says to one half of a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// With what the handler is to go by.
    Allow(Terms),
    Deny(String),
}

pub type Terms = BTreeMap<&'static str, String>;
