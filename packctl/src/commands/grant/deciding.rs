//! Which entry of a grant decides about a request, or comes nearest to it.

use rumi_policy::{AbsPath, DomainEntry, FileGrant, Grant, Host, NetworkGrant, Port};
use serde::Serialize;

use super::lines;
use crate::asking::Question;

/// One entry of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) permission: String,
    pub(super) list: &'static str,
    pub(super) value: String,
    /// In the grant file.
    pub(super) line: Option<usize>,
    /// Whether it covers what was asked; otherwise it is merely nearest to it.
    pub(super) covers: bool,
}

struct Found {
    list: &'static str,
    value: String,
    covers: bool,
}

impl Found {
    fn new(list: &'static str, value: impl ToString, covers: bool) -> Self {
        Self {
            list,
            value: value.to_string(),
            covers,
        }
    }
}

/// The entry of this grant that the request rests on, or the one nearest to it.
pub(super) fn entry(grant: &Grant, text: &str, question: &Question) -> Option<Entry> {
    let (permission, found) = match question {
        Question::FileRead(ask) => ("file_read", file(grant.file_read()?, &ask.path)),
        Question::FileWrite(ask) => ("file_write", file(grant.file_write()?, &ask.path)),
        Question::EnvRead(rumi_policy::EnvReadAsk::One(key)) => {
            let keys = &grant.env_read()?.allowed_keys;
            let same = keys.iter().find(|known| *known == key);
            (
                "env_read",
                same.map(|key| Found::new("allowed_keys", key, true)),
            )
        }
        Question::EnvRead(_) => ("env_read", None),
        Question::Terminal(ask) => {
            let granted = grant.terminal()?;
            let directory = directory(&granted.directories, ask.directory());
            let program = ask.program();
            let command = granted
                .allowed_commands
                .iter()
                .find(|entry| entry.program().name() == program.name());
            let command = command.map(|entry| Found::new("allowed_commands", entry, true));
            let found = match directory {
                Some(directory) if directory.covers => command.or(Some(directory)),
                other => other,
            };
            ("terminal", found)
        }
        Question::Network(ask) => (
            "network",
            host(grant.network()?, ask.host(), Some(ask.port())),
        ),
        Question::Tunnel(ask) => (
            "network",
            host(grant.network()?, ask.host(), Some(ask.port())),
        ),
        Question::Resolve(ask) => ("network", host(grant.network()?, ask.host(), None)),
        Question::Custom(ask) => {
            grant.custom().get(&ask.handler)?;
            let line = lines::line_of(text, ask.handler.as_str(), None);
            return Some(Entry {
                permission: ask.handler.to_string(),
                list: "",
                value: ask.handler.to_string(),
                line,
                covers: true,
            });
        }
        Question::Refused(_) => return None,
    };
    let found = found?;
    Some(Entry {
        permission: permission.to_owned(),
        line: lines::line_of(text, permission, Some((found.list, &found.value))),
        list: found.list,
        value: found.value,
        covers: found.covers,
    })
}

fn file(granted: &FileGrant, path: &AbsPath) -> Option<Found> {
    let nearest = directory(&granted.directories, path);
    if nearest.as_ref().is_some_and(|found| found.covers) {
        return nearest;
    }
    let files = granted.files.as_deref().unwrap_or_default();
    if let Some(same) = files.iter().find(|file| *file == path) {
        return Some(Found::new("files", same, true));
    }
    let beside = files.iter().find(|file| file.parent() == path.parent());
    beside
        .map(|file| Found::new("files", file, false))
        .or(nearest)
}

/// The deepest directory above the path, or the one that shares most of its way.
fn directory(directories: &[AbsPath], path: &AbsPath) -> Option<Found> {
    let above = directories.iter().filter(|d| path.starts_with(d));
    if let Some(deepest) = above.max_by_key(|directory| directory.as_str().len()) {
        return Some(Found::new("directories", deepest, true));
    }
    let shared = |directory: &&AbsPath| {
        let (ours, theirs) = (path.as_str().split('/'), directory.as_str().split('/'));
        ours.zip(theirs).take_while(|(a, b)| a == b).count()
    };
    // All paths share the empty name before the first slash.
    let near = directories.iter().filter(|directory| shared(directory) > 1);
    near.max_by_key(shared)
        .map(|directory| Found::new("directories", directory, false))
}

fn host(granted: &NetworkGrant, host: &Host, port: Option<Port>) -> Option<Found> {
    let raw = granted.tcp.iter().flatten();
    let mut raw = raw.filter(|entry| entry.host() == host);
    if let Some(entry) = raw.find(|entry| port.is_none_or(|port| entry.port() == port)) {
        return Some(Found::new("tcp", entry, true));
    }
    let matching = |entry: &&DomainEntry| entry.domain().matches(host);
    let open = |entry: &&DomainEntry| match (entry.port(), port) {
        (_, None) => true,
        (Some(own), Some(port)) => own == port,
        (None, Some(port)) => match &granted.allowed_ports {
            Some(ports) => ports.contains(&port.get()),
            None => port == Port::HTTPS,
        },
    };
    let domains = &granted.allowed_domains;
    if let Some(entry) = domains.iter().filter(matching).find(open) {
        return Some(Found::new("allowed_domains", entry, true));
    }
    if let Some(entry) = domains.iter().find(matching) {
        return Some(Found::new("allowed_domains", entry, false));
    }
    let shared = |entry: &&DomainEntry| {
        let ours = host.as_str().rsplit('.');
        let theirs = entry.domain().as_str().rsplit('.');
        ours.zip(theirs).take_while(|(a, b)| a == b).count()
    };
    // A top-level domain alone is no likeness.
    let near = domains.iter().filter(|entry| shared(entry) > 1);
    near.max_by_key(shared)
        .map(|entry| Found::new("allowed_domains", entry, false))
}
