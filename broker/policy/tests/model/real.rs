//! The real thing, asked in its own types, answering in the model's.

use rumi_policy::{
    AbsPath, Capability, Cidr, Custom, CustomAsk, CustomFound, Denial, EnvFound, EnvKey, EnvRead,
    EnvReadAsk, Existing, FileKind, FileRead, FileReadAction, FileReadAsk, FileReadFound,
    FileWrite, FileWriteAction, FileWriteAsk, FileWriteFound, HandlerName, HandlerState, Hello,
    Network, NetworkAsk, NetworkFound, Permit, PolicySet, RenameFound, Resolve, ResolveAsk,
    Terminal, TerminalAsk, TerminalFound, TerminalMode, Tunnel, TunnelAsk, TunnelForm, TunnelFound,
    UnixMillis, Usage, decide,
};

use crate::request::{Answer, Case, Found, Request, Terms};

/// Both halves of the answer; the second where the first one allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    pub asked: Answer,
    pub confirmed: Option<Answer>,
}

pub fn answer(set: &PolicySet, case: &Case) -> Answers {
    let found = &case.found;
    match &case.request {
        Request::FileRead { .. } => file_read(set, case),
        Request::FileWrite { .. } => file_write(set, case),
        Request::Env { key } => {
            let ask = match key.as_str() {
                "" => Ok(EnvReadAsk::All),
                key => key.parse::<EnvKey>().map(EnvReadAsk::One).map_err(drop),
            };
            both::<EnvRead>(
                set,
                case,
                ask,
                env_terms,
                |_| EnvFound {
                    bytes: found.values,
                },
                |()| Terms::new(),
            )
        }
        Request::Terminal { .. } => terminal(set, case),
        Request::Fetch {
            method,
            url,
            headers,
        } => {
            let ask = NetworkAsk::parse(method, url);
            let ask = ask.map(|ask| ask.with_headers(headers.iter().map(String::as_str)));
            let facts =
                |to: &rumi_policy::Destination| Terms::from([("addresses", join(to.addresses()))]);
            both::<Network>(
                set,
                case,
                ask,
                network_terms,
                |_| network_found(found),
                facts,
            )
        }
        Request::Tunnel { authority, open_as } => {
            let ask = TunnelAsk::parse(authority);
            let ask = ask.map(|ask| match open_as {
                Some(form) => ask.open_as(form_of(form)),
                None => ask,
            });
            let terms = |permit: &Permit<Tunnel>| {
                let terms = permit.terms();
                Terms::from([
                    ("form", terms.form().as_str().to_owned()),
                    ("timeout_ms", terms.timeout_ms().to_string()),
                ])
            };
            let found = |_: &Permit<Tunnel>| TunnelFound {
                network: network_found(found),
                hello: hello(&found.hello),
            };
            let facts =
                |to: &rumi_policy::Destination| Terms::from([("addresses", join(to.addresses()))]);
            both::<Tunnel>(set, case, ask, terms, found, facts)
        }
        Request::Resolve { host } => {
            let terms =
                |permit: &Permit<Resolve>| Terms::from([("ports", join(permit.terms().ports()))]);
            both::<Resolve>(
                set,
                case,
                ResolveAsk::parse(host),
                terms,
                |_| (),
                |()| Terms::new(),
            )
        }
        Request::Custom { .. } => custom(set, case),
    }
}

/// Asks, looks at the terms, finds, and confirms.
fn both<C: Capability>(
    set: &PolicySet,
    case: &Case,
    ask: Result<C::Ask, impl Sized>,
    terms: impl Fn(&Permit<C>) -> Terms,
    found: impl Fn(&Permit<C>) -> C::Found,
    facts: impl Fn(&C::Confirmed) -> Terms,
) -> Answers {
    let deny = |denial: Denial| Answer::Deny(denial.reason.as_str().to_owned());
    let Ok(ask) = ask else {
        return Answers {
            asked: Answer::Deny("bad_request".to_owned()),
            confirmed: None,
        };
    };
    let caller = case.caller.parse().unwrap();
    match decide::<C>(set, &caller, ask, UnixMillis(case.now)) {
        Err(denial) => Answers {
            asked: deny(denial),
            confirmed: None,
        },
        Ok(permit) => {
            let asked = Answer::Allow(terms(&permit));
            let found = found(&permit);
            let confirmed = match permit.confirm(&found) {
                Ok(confirmed) => Answer::Allow(facts(confirmed.facts())),
                Err(denial) => deny(denial),
            };
            Answers {
                asked,
                confirmed: Some(confirmed),
            }
        }
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(" ")
}

fn path(text: &str) -> AbsPath {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn kind(kind: &str) -> FileKind {
    match kind {
        "file" => FileKind::File,
        "directory" => FileKind::Directory,
        "symlink" => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// What the kernel calls the root, and what lies at the relative path below it.
fn real(
    found: &Found,
    root: &AbsPath,
    relative: &str,
    leads_to: Option<&str>,
) -> (AbsPath, AbsPath) {
    let root = found.root_is.as_deref().map_or_else(|| root.clone(), path);
    let real = match (leads_to, relative) {
        (Some(other), _) => path(other),
        (None, "") => root.clone(),
        (None, relative) => root.join(relative).unwrap(),
    };
    (root, real)
}

fn file_read(set: &PolicySet, case: &Case) -> Answers {
    let Request::FileRead {
        action,
        path: text,
        offset,
        length,
    } = &case.request
    else {
        unreachable!("the caller has looked")
    };
    let action = match *action {
        "read" => FileReadAction::Read {
            offset: *offset,
            length: *length,
        },
        "list" => FileReadAction::List,
        _ => FileReadAction::Stat,
    };
    let ask = text.parse().map(|path| FileReadAsk { action, path });
    let terms = |permit: &Permit<FileRead>| {
        let terms = permit.terms();
        let asked = &permit.ask().path;
        assert_eq!(
            asked.strip_prefix(terms.root()),
            Some(terms.relative()),
            "{case:?}"
        );
        Terms::from([
            ("max_bytes", terms.max_bytes().to_string()),
            ("passthrough", terms.passthrough().to_string()),
        ])
    };
    let found = |permit: &Permit<FileRead>| {
        let found = &case.found;
        let terms = permit.terms();
        let (real_root, real_path) = real(
            found,
            terms.root(),
            terms.relative(),
            found.leads_to.as_deref(),
        );
        FileReadFound {
            kind: kind(found.kind.unwrap_or("other")),
            size: found.size,
            real_root,
            real_path,
            links: found.links,
        }
    };
    let facts =
        |facts: &rumi_policy::FileReadFacts| Terms::from([("bytes", facts.bytes.to_string())]);
    both::<FileRead>(set, case, ask, terms, found, facts)
}

fn file_write(set: &PolicySet, case: &Case) -> Answers {
    let Request::FileWrite {
        action,
        path: text,
        to,
        bytes,
    } = &case.request
    else {
        unreachable!("the caller has looked")
    };
    let ask = text.parse().and_then(|path| {
        let action = match *action {
            "look" => FileWriteAction::Look,
            "write" => FileWriteAction::Write,
            "append" => FileWriteAction::Append,
            "create" => FileWriteAction::Create,
            "mkdir" => FileWriteAction::Mkdir { parents: false },
            "mkdir -p" => FileWriteAction::Mkdir { parents: true },
            "delete" => FileWriteAction::Delete,
            _ => FileWriteAction::Rename { to: to.parse()? },
        };
        Ok::<_, rumi_policy::SpellingError>(FileWriteAsk {
            action,
            path,
            bytes: *bytes,
        })
    });
    let terms = |permit: &Permit<FileWrite>| {
        Terms::from([("max_bytes", permit.terms().max_bytes().to_string())])
    };
    let existing = |kind_of: Option<&'static str>, found: &Found| {
        kind_of.map(|text| Existing {
            kind: kind(text),
            size: found.size,
            links: found.links,
        })
    };
    let found = |permit: &Permit<FileWrite>| {
        let found = &case.found;
        let terms = permit.terms();
        let (real_root, real_path) = real(
            found,
            terms.root(),
            terms.relative(),
            found.leads_to.as_deref(),
        );
        let to = terms.to().map(|(root, relative)| {
            let (real_root, real_path) = real(found, root, relative, found.to_leads_to.as_deref());
            RenameFound {
                existing: existing(found.to_kind, found),
                real_root,
                real_path,
            }
        });
        FileWriteFound {
            existing: existing(found.kind, found),
            real_root,
            real_path,
            to,
            usage: found.usage.map(|(bytes, files)| Usage { bytes, files }),
            missing: found.missing,
            in_place: found.in_place,
        }
    };
    let facts = |facts: &rumi_policy::FileWriteFacts| {
        Terms::from([
            ("max_bytes", facts.max_bytes.to_string()),
            ("quota_bytes", facts.quota.bytes.to_string()),
            ("quota_files", facts.quota.files.to_string()),
        ])
    };
    both::<FileWrite>(set, case, ask, terms, found, facts)
}

fn env_terms(permit: &Permit<EnvRead>) -> Terms {
    let mut keys: Vec<String> = permit.terms().keys().map(ToString::to_string).collect();
    keys.sort();
    Terms::from([
        ("keys", keys.join(" ")),
        ("max_bytes", permit.terms().max_bytes().to_string()),
    ])
}

fn terminal(set: &PolicySet, case: &Case) -> Answers {
    let Request::Terminal {
        argv,
        directory,
        timeout_ms,
    } = &case.request
    else {
        unreachable!("the caller has looked")
    };
    let ask = directory
        .parse()
        .map_err(drop)
        .and_then(|directory| TerminalAsk::new(argv.clone(), directory, *timeout_ms).map_err(drop));
    let terms = |permit: &Permit<Terminal>| {
        let terms = permit.terms();
        let mode = match terms.mode() {
            TerminalMode::Host => "host",
            TerminalMode::Sandbox => "sandbox",
        };
        Terms::from([
            ("timeout_ms", terms.timeout_ms().to_string()),
            ("memory_bytes", terms.memory_bytes().to_string()),
            ("max_output_bytes", terms.max_output_bytes().to_string()),
            ("mode", mode.to_owned()),
            ("root", terms.root().to_string()),
        ])
    };
    let found = |permit: &Permit<Terminal>| {
        let found = &case.found;
        let terms = permit.terms();
        let (real_root, real_directory) = real(
            found,
            terms.root(),
            terms.relative(),
            found.leads_to.as_deref(),
        );
        let lies_at = |name: &str| found.programs.get(name).map(|text| path(text));
        let commands = terms.allowed_commands().iter();
        TerminalFound {
            program: lies_at(permit.ask().program().as_str()).unwrap(),
            allowed: commands
                .map(|command| lies_at(command.program().as_str()))
                .collect(),
            real_root,
            real_directory,
            owner_uid: found.owner,
            owner_gid: found.owner,
        }
    };
    let facts = |facts: &rumi_policy::TerminalFacts| {
        Terms::from([
            ("program", facts.program.to_string()),
            ("uid", facts.uid.to_string()),
        ])
    };
    both::<Terminal>(set, case, ask, terms, found, facts)
}

fn network_terms(permit: &Permit<Network>) -> Terms {
    let terms = permit.terms();
    let mut added: Vec<String> = terms
        .inject()
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    added.sort();
    Terms::from([
        ("timeout_ms", terms.timeout_ms().to_string()),
        ("max_response_bytes", terms.max_response_bytes().to_string()),
        ("inject", added.join("\n")),
    ])
}

fn network_found(found: &Found) -> NetworkFound {
    let addresses = |list: &[String]| list.iter().map(|text| text.parse().unwrap()).collect();
    NetworkFound {
        addresses: addresses(&found.addresses),
        own: addresses(&found.own),
        exceptions: found
            .exceptions
            .iter()
            .map(|range| range.parse::<Cidr>().unwrap())
            .collect(),
    }
}

fn form_of(text: &str) -> TunnelForm {
    match text {
        "tls" => TunnelForm::Tls,
        "intercepted" => TunnelForm::Intercepted,
        "http" => TunnelForm::Http,
        _ => TunnelForm::Raw,
    }
}

fn hello(text: &str) -> Hello {
    match text {
        "unread" => Hello::Unread,
        "other" => Hello::Other,
        "nameless" => Hello::Tls(None),
        name => Hello::Tls(Some(name.to_owned())),
    }
}

fn custom(set: &PolicySet, case: &Case) -> Answers {
    let Request::Custom {
        handler,
        bytes,
        depth,
    } = &case.request
    else {
        unreachable!("the caller has looked")
    };
    let ask = handler.parse::<HandlerName>().map(|handler| CustomAsk {
        handler,
        args: "{}".into(),
        bytes: *bytes,
        fingerprint: "hmac:0".to_owned(),
        depth: *depth,
    });
    let terms = |permit: &Permit<Custom>| {
        // Read once more, so that the order of keys is the model's.
        let config: serde_json::Value = serde_json::from_str(permit.terms().config()).unwrap();
        Terms::from([("config", config.to_string())])
    };
    let found = |_: &Permit<Custom>| CustomFound {
        handler: match case.found.handler {
            "missing" => HandlerState::Missing,
            "refused" => HandlerState::Refused("it is a symlink".to_owned()),
            state => HandlerState::Ready {
                requires_scope: state.ends_with("needs a scope"),
            },
        },
        arguments: if case.found.arguments_fit {
            Ok(())
        } else {
            Err("`text` is missing".to_owned())
        },
    };
    both::<Custom>(set, case, ask, terms, found, |()| Terms::new())
}
