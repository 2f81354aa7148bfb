//! Entries that add nothing: another covers them, or a scope forbids them anyway.

use rumi_policy::{
    AbsPath, Capability, ComponentId, DomainEntry, EnvRead, EnvReadAsk, FileGrant, FileRead,
    FileReadAction, FileReadAsk, FileWrite, FileWriteAction, FileWriteAsk, Grant, NetworkGrant,
    PolicySet, Port, Reason, Terminal, TerminalAsk, TerminalGrant, Tunnel, TunnelAsk, decide,
};

use super::{directories::Remark, now};

/// Everything in one grant that another entry of it covers.
pub(super) fn covered(grant: &Grant) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for (permission, file) in [
        ("file_read", grant.file_read()),
        ("file_write", grant.file_write()),
    ] {
        remarks.extend(file.into_iter().flat_map(|file| files(permission, file)));
    }
    remarks.extend(grant.terminal().into_iter().flat_map(commands));
    remarks.extend(grant.network().into_iter().flat_map(domains));
    remarks
}

fn remark(permission: &str, entry: &str, by: &str) -> Remark {
    Remark {
        message: format!("`{entry}` of `{permission}` adds nothing to `{by}`"),
        remedy: "take out the one that is not meant".to_owned(),
    }
}

fn within(permission: &str, directories: &[AbsPath]) -> Vec<Remark> {
    let above = |directory: &AbsPath| {
        let mut others = directories.iter();
        others
            .find(|other| *other != directory && directory.starts_with(other))
            .cloned()
    };
    directories
        .iter()
        .filter_map(|one| Some(remark(permission, one.as_str(), above(one)?.as_str())))
        .collect()
}

fn files(permission: &str, granted: &FileGrant) -> Vec<Remark> {
    // Patterns count from each granted directory, so that one within another may say more.
    if granted.patterns.is_some() {
        return Vec::new();
    }
    let mut remarks = within(permission, &granted.directories);
    for file in granted.files.iter().flatten() {
        let above = granted.directories.iter().find(|d| file.starts_with(d));
        remarks.extend(above.map(|above| remark(permission, file.as_str(), above.as_str())));
    }
    remarks
}

fn commands(granted: &TerminalGrant) -> Vec<Remark> {
    let mut remarks = within("terminal", &granted.directories);
    for command in &granted.allowed_commands {
        let whole = granted.allowed_commands.iter().find(|other| {
            *other != command && other.takes_anything() && other.program() == command.program()
        });
        if let Some(whole) = whole.filter(|_| !command.takes_anything()) {
            remarks.push(remark("terminal", &command.to_string(), &whole.to_string()));
        }
    }
    remarks
}

fn domains(granted: &NetworkGrant) -> Vec<Remark> {
    let ports = |entry: &DomainEntry| match (entry.port(), &granted.allowed_ports) {
        (Some(own), _) => vec![own.get()],
        (None, Some(ports)) => ports.clone(),
        (None, None) => vec![Port::HTTPS.get()],
    };
    let covers = |wide: &DomainEntry, entry: &DomainEntry| {
        let same = wide.domain() == entry.domain();
        let host = entry.domain().as_str().parse();
        let matches = same || host.is_ok_and(|host| wide.domain().matches(&host));
        let wider = ports(wide);
        let all = ports(entry).iter().all(|port| wider.contains(port));
        // Of two that mean the same, the later one is superfluous.
        matches && all && (!same || wide.port().is_none() && entry.port().is_some())
    };
    let all = &granted.allowed_domains;
    let by = |entry: &DomainEntry| {
        all.iter()
            .find(|wide| *wide != entry && covers(wide, entry))
    };
    all.iter()
        .filter_map(|entry| {
            let by = by(entry)?;
            Some(remark("network", &entry.to_string(), &by.to_string()))
        })
        .collect()
}

/// Entries that a scope, or the broker itself, forbids whatever the grant says.
pub(super) fn forbidden(set: &PolicySet, component: &ComponentId, grant: &Grant) -> Vec<Remark> {
    let mut found = Vec::new();
    let mut look = |permission: &str, entry: String, why: Option<String>| {
        if let Some(why) = why {
            found.push(Remark {
                message: format!("`{entry}` of `{permission}` is forbidden anyway: {why}"),
                remedy: "take it out of the grant; no grant opens what a scope forbids".to_owned(),
            });
        }
    };
    for path in named(grant.file_read()) {
        let ask = FileReadAsk {
            path: path.clone(),
            action: FileReadAction::Stat,
        };
        let why = why::<FileRead>(set, component, ask);
        look("file_read", path.to_string(), why);
    }
    for path in named(grant.file_write()) {
        let ask = FileWriteAsk {
            path: path.clone(),
            action: FileWriteAction::Look,
            bytes: 0,
        };
        let why = why::<FileWrite>(set, component, ask);
        look("file_write", path.to_string(), why);
    }
    for key in grant
        .env_read()
        .into_iter()
        .flat_map(|env| &env.allowed_keys)
    {
        let why = why::<EnvRead>(set, component, EnvReadAsk::One(key.clone()));
        look("env_read", key.to_string(), why);
    }
    for (entry, why) in grant.terminal().into_iter().flat_map(|terminal| {
        let run = |directory: &AbsPath, program: &str| {
            let ask = TerminalAsk::new(vec![program.to_owned()], directory.clone(), None).ok()?;
            why::<Terminal>(set, component, ask)
        };
        // A program that no scope forbids shows the directory, and the other way round.
        let directories = terminal.directories.iter();
        let directories = directories.map(|one| (one.to_string(), run(one, "true")));
        let clean = terminal
            .directories
            .iter()
            .find(|one| run(one, "true").is_none());
        let commands = terminal.allowed_commands.iter().filter_map(|command| {
            Some((command.to_string(), run(clean?, command.program().as_str())))
        });
        let both: Vec<_> = directories.chain(commands).collect();
        both
    }) {
        look("terminal", entry, why);
    }
    for (entry, authority) in grant.network().into_iter().flat_map(authorities) {
        let why = TunnelAsk::parse(&authority)
            .ok()
            .and_then(|ask| why::<Tunnel>(set, component, ask));
        look("network", entry, why);
    }
    found
}

fn named(grant: Option<&FileGrant>) -> impl Iterator<Item = &AbsPath> {
    let directories = grant.into_iter().flat_map(|file| &file.directories);
    let files = grant
        .into_iter()
        .flat_map(|file| file.files.iter().flatten());
    directories.chain(files)
}

/// Entries with a host and port that stand for them.
fn authorities(granted: &NetworkGrant) -> Vec<(String, String)> {
    let default = granted.allowed_ports.as_ref();
    let port = default.and_then(|ports| ports.first()).copied();
    let domains = granted.allowed_domains.iter().filter_map(|entry| {
        // One name stands for all below a wildcard.
        let name = entry.domain().as_str().replacen('*', "any", 1);
        let host: rumi_policy::Host = name.parse().ok()?;
        let port = entry.port().or_else(|| Port::new(port.unwrap_or(443)))?;
        Some((entry.to_string(), host.with_port(port)))
    });
    let raw = granted.tcp.iter().flatten();
    let raw = raw.map(|entry| (entry.to_string(), entry.host().with_port(entry.port())));
    domains.chain(raw).collect()
}

fn why<C: Capability>(set: &PolicySet, component: &ComponentId, ask: C::Ask) -> Option<String> {
    match decide::<C>(set, component, ask, now()) {
        Err(denial) if denial.reason == Reason::ForbiddenByScope => {
            Some(denial.detail.unwrap_or(denial.sentence))
        }
        _ => None,
    }
}
