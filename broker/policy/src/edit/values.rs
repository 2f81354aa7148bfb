//! The values of a command line, list by list.

use super::EditError;
use crate::grant::{AllowedCommand, DomainEntry, TcpEntry};
use crate::host::Port;
use crate::ids::EnvKey;
use crate::json::Node;
use crate::path::AbsPath;
use crate::permission::Permission;
use crate::spelling::SpellingError;

const DIRECTORIES: &str = "directories";
pub(super) const FILES: &str = "files";
const KEYS: &str = "allowed_keys";
const COMMANDS: &str = "allowed_commands";
const DOMAINS: &str = "allowed_domains";
const TCP: &str = "tcp";
/// What a value of `tcp` begins with on a command line.
const TCP_SCHEME: &str = "tcp://";

pub(super) fn takes(permission: Permission) -> &'static str {
    match permission {
        Permission::FileRead | Permission::FileWrite => {
            "directories, single files (`--file`), or both"
        }
        Permission::EnvRead => "one or more keys",
        Permission::Terminal => "directories, commands (`--command`), or both",
        Permission::Network => "one or more `host`, `host:port` or `tcp://host:port`",
    }
}

pub(super) fn lists_of(permission: Permission) -> &'static [&'static str] {
    match permission {
        Permission::FileRead | Permission::FileWrite => &[DIRECTORIES],
        Permission::EnvRead => &[KEYS],
        Permission::Terminal => &[DIRECTORIES, COMMANDS],
        Permission::Network => &[DOMAINS],
    }
}

pub(super) fn check(
    permission: Permission,
    values: &[String],
    commands: &[String],
) -> Result<Vec<(&'static str, Vec<String>)>, EditError> {
    if permission != Permission::Terminal && !commands.is_empty() {
        return Err(EditError::Values {
            permission,
            takes: takes(permission),
        });
    }
    for value in values {
        match permission {
            Permission::FileRead | Permission::FileWrite | Permission::Terminal => {
                value.parse::<AbsPath>().map(drop)
            }
            Permission::EnvRead => value.parse::<EnvKey>().map(drop),
            Permission::Network => match value.strip_prefix(TCP_SCHEME) {
                Some(endpoint) => endpoint.parse::<TcpEntry>().map(drop),
                None => value.parse::<DomainEntry>().map(drop),
            },
        }?;
    }
    commands
        .iter()
        .try_for_each(|command| command.parse::<AllowedCommand>().map(drop))?;
    if permission == Permission::Network {
        return Ok(by_kind(values));
    }
    let lists = lists_of(permission).iter().copied();
    Ok(lists
        .map(|name| {
            (
                name,
                if name == COMMANDS { commands } else { values }.to_vec(),
            )
        })
        .collect())
}

/// Files by their own paths.
pub(super) fn files(permission: Permission, files: &[String]) -> Result<Vec<String>, EditError> {
    if !matches!(permission, Permission::FileRead | Permission::FileWrite) {
        return Err(EditError::Values {
            permission,
            takes: takes(permission),
        });
    }
    for file in files {
        if file.parse::<AbsPath>()?.is_root() {
            let why = "it is a directory, and no file";
            return Err(SpellingError::new("a file", file, why).into());
        }
    }
    Ok(files.to_vec())
}

/// Hosts, and what carries anything.
fn by_kind(values: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let (raw, hosts): (Vec<_>, Vec<_>) = values
        .iter()
        .cloned()
        .partition(|value| value.starts_with(TCP_SCHEME));
    let endpoints = raw
        .iter()
        .filter_map(|value| value.strip_prefix(TCP_SCHEME));
    let endpoints = endpoints.map(str::to_owned).collect();
    vec![(DOMAINS, hosts), (TCP, endpoints)]
}

/// The ports a network grant names for all its domains.
pub(super) fn ports_of(grant: &Node) -> Option<Vec<Port>> {
    let Some(Node::List(items)) = grant.get("allowed_ports") else {
        return None;
    };
    let port = |item: &Node| match item {
        Node::Number(number) => Port::new(u16::try_from(number.as_u64()?).ok()?),
        _ => None,
    };
    Some(items.iter().filter_map(port).collect())
}

fn entry(text: &str) -> Option<(DomainEntry, Port)> {
    let entry: DomainEntry = text.parse().ok()?;
    let port = entry.port().unwrap_or(Port::HTTPS);
    Some((entry, port))
}

fn with_port(entry: &DomainEntry, port: Port) -> String {
    let domain = entry.domain().as_str();
    if domain.contains(':') {
        format!("[{domain}]:{port}")
    } else {
        format!("{domain}:{port}")
    }
}

/// A domain without a port means every port of the grant, so it may only be written where that
/// is the one port that was meant.
pub(super) fn spelling_to_add(list: &str, value: &str, ports: Option<&[Port]>) -> String {
    match entry(value).filter(|_| list == DOMAINS) {
        Some((entry, port)) if ports == Some(&[port]) => entry.domain().to_string(),
        Some((entry, port)) => with_port(&entry, port),
        None => value.to_owned(),
    }
}

/// Whether the list grants the value already.
pub(super) fn is_covered(list: &str, items: &[Node], value: &str, ports: Option<&[Port]>) -> bool {
    let covers = |text: &str| {
        if text == value {
            return true;
        }
        match list {
            DIRECTORIES => covers_directory(text, value).unwrap_or(false),
            DOMAINS => covers_domain(text, value, ports).unwrap_or(false),
            _ => false,
        }
    };
    items
        .iter()
        .any(|item| matches!(item, Node::Text(text) if covers(text)))
}

fn covers_directory(granted: &str, wanted: &str) -> Option<bool> {
    let granted: AbsPath = granted.parse().ok()?;
    let wanted: AbsPath = wanted.parse().ok()?;
    Some(wanted.starts_with(&granted))
}

fn covers_domain(granted: &str, wanted: &str, ports: Option<&[Port]>) -> Option<bool> {
    let granted: DomainEntry = granted.parse().ok()?;
    let wanted: DomainEntry = wanted.parse().ok()?;
    let same = granted.domain() == wanted.domain();
    let host = wanted.domain().as_str().parse().ok();
    let matches = same || host.is_some_and(|host| granted.domain().matches(&host));
    let port = wanted
        .port()
        .or_else(|| ports.and_then(|ports| ports.first().copied()))?;
    let allowed = match granted.port() {
        Some(own) => own == port,
        None => ports.is_some_and(|ports| ports.contains(&port)),
    };
    Some(matches && allowed)
}

/// Removes a value; for a domain that was granted for several ports, only the port in question
/// unless the entry itself was named.
pub(super) fn take_out(
    list: &str,
    items: &mut Vec<Node>,
    value: &str,
    ports: Option<&[Port]>,
) -> bool {
    let before = items.clone();
    let unwanted = entry(value).filter(|_| list == DOMAINS);
    let mut kept = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let Node::Text(text) = &item else { continue };
        if text == value {
            continue;
        }
        let granted = text.parse::<DomainEntry>().ok();
        match (&unwanted, granted) {
            (Some((unwanted, port)), Some(granted)) if granted.domain() == unwanted.domain() => {
                match granted.port() {
                    Some(own) if own == *port => {}
                    Some(_) => kept.push(item),
                    None => {
                        let all = ports.unwrap_or(&[Port::HTTPS]);
                        let rest = all.iter().filter(|other| *other != port);
                        kept.extend(rest.map(|other| Node::Text(with_port(&granted, *other))));
                    }
                }
            }
            _ => kept.push(item),
        }
    }
    *items = kept;
    *items != before
}
