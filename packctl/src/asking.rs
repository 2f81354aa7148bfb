//! Puts a question to the policy, as the broker would for a request.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use rumi_policy::{
    AbsPath, Capability, Cidr, ComponentId, Custom, CustomAsk, Denial, EnvFound, EnvRead,
    EnvReadAsk, FileRead, FileReadAction, FileReadAsk, FileWrite, FileWriteAction, FileWriteAsk,
    HandlerName, Network, NetworkAsk, Permit, PolicySet, Reason, Resolve, ResolveAsk, Terminal,
    TerminalAsk, Tunnel, TunnelAsk, UnixMillis, decide,
};
use serde::Serialize;

use crate::{
    context::Context,
    looking::{self, Sight},
};

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileAction {
    /// file_read: the content
    Read,
    /// file_read: the names in a directory
    List,
    /// file_read: kind and size
    Stat,
    /// file_write: replace the content
    Write,
    /// file_write: add at the end
    Append,
    /// file_write: write a file that must not exist
    Create,
    /// file_write: make a directory
    Mkdir,
    /// file_write: remove
    Delete,
    /// file_write: move to --to
    Rename,
}

/// A request, ready to be decided.
#[derive(Debug)]
pub(crate) enum Question {
    FileRead(FileReadAsk),
    FileWrite(FileWriteAsk),
    EnvRead(EnvReadAsk),
    Terminal(TerminalAsk),
    Network(NetworkAsk),
    Custom(CustomAsk),
    Tunnel(TunnelAsk),
    Resolve(ResolveAsk),
    /// The words themselves are refused, which is an answer too.
    Refused(Denial),
}

/// What the broker would say.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code")]
    reason: Option<Reason>,
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    policy: String,
}

fn code<S: serde::Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(reason.map_or("", |reason| reason.as_str()))
}

impl Question {
    /// Reading is what is meant where nothing else is said.
    pub(crate) fn file_read(path: &str, action: Option<FileAction>) -> Result<Self, String> {
        let action = match action.unwrap_or(FileAction::Read) {
            FileAction::Read => FileReadAction::Read {
                offset: 0,
                length: 0,
            },
            FileAction::List => FileReadAction::List,
            FileAction::Stat => FileReadAction::Stat,
            _ => return Err("`file_read` knows the actions `read`, `list` and `stat`".to_owned()),
        };
        let path = absolute(path)?;
        Ok(Self::FileRead(FileReadAsk { action, path }))
    }

    /// Replacing the content is what is meant where nothing else is said.
    pub(crate) fn file_write(
        path: &str,
        action: Option<FileAction>,
        to: Option<&str>,
    ) -> Result<Self, String> {
        let action = action.unwrap_or(FileAction::Write);
        let action = match (action, to) {
            (FileAction::Rename, Some(to)) => FileWriteAction::Rename { to: absolute(to)? },
            (FileAction::Rename, None) => {
                return Err("`rename` needs `--to PATH`".to_owned());
            }
            (_, Some(_)) => return Err("`--to` is for `--action rename` only".to_owned()),
            (FileAction::Write, None) => FileWriteAction::Write,
            (FileAction::Append, None) => FileWriteAction::Append,
            (FileAction::Create, None) => FileWriteAction::Create,
            (FileAction::Mkdir, None) => FileWriteAction::Mkdir { parents: false },
            (FileAction::Delete, None) => FileWriteAction::Delete,
            (FileAction::Read | FileAction::List | FileAction::Stat, None) => {
                return Err("`file_write` knows the actions `write`, `append`, `create`, `mkdir`, `delete` and `rename`".to_owned());
            }
        };
        let path = absolute(path)?;
        Ok(Self::FileWrite(FileWriteAsk {
            action,
            path,
            bytes: 0,
        }))
    }

    pub(crate) fn env_read(key: &str) -> Result<Self, String> {
        let key = key.parse().map_err(|error| format!("{error}"))?;
        Ok(Self::EnvRead(EnvReadAsk::One(key)))
    }

    pub(crate) fn terminal(directory: &str, argv: Vec<String>) -> Result<Self, String> {
        Ok(match TerminalAsk::new(argv, absolute(directory)?, None) {
            Ok(ask) => Self::Terminal(ask),
            Err(denial) => Self::Refused(denial),
        })
    }

    pub(crate) fn network(method: &str, url: &str) -> Self {
        match NetworkAsk::parse(method, url) {
            Ok(ask) => Self::Network(ask),
            Err(denial) => Self::Refused(denial),
        }
    }

    /// Whether the handler is loaded and takes these arguments is the broker's to say.
    pub(crate) fn custom(handler: &HandlerName, args: &str) -> Result<Self, String> {
        match serde_json::from_str(args) {
            Ok(serde_json::Value::Object(_)) => Ok(Self::Custom(CustomAsk {
                handler: handler.clone(),
                args: args.into(),
                bytes: u64::try_from(args.len()).unwrap_or(u64::MAX),
                fingerprint: String::new(),
                depth: 0,
            })),
            Ok(_) => Err("arguments of a handler are a JSON object, such as `{}`".to_owned()),
            Err(error) => Err(format!("the arguments are not JSON: {error}")),
        }
    }

    pub(crate) fn tunnel(authority: &str) -> Self {
        match TunnelAsk::parse(authority) {
            Ok(ask) => Self::Tunnel(ask),
            Err(denial) => Self::Refused(denial),
        }
    }

    pub(crate) fn resolve(host: &str) -> Self {
        match ResolveAsk::parse(host) {
            Ok(ask) => Self::Resolve(ask),
            Err(denial) => Self::Refused(denial),
        }
    }

    /// What the policy says now, to the request and to what a handler would find.
    pub(crate) fn put(self, set: &PolicySet, component: &ComponentId, config: &Config) -> Answer {
        match self {
            Self::FileRead(ask) => answer::<FileRead>(set, component, ask, looking::file_read),
            Self::FileWrite(ask) => answer::<FileWrite>(set, component, ask, looking::file_write),
            Self::EnvRead(ask) => answer::<EnvRead>(set, component, ask, |_| Sight {
                found: Some(EnvFound { bytes: 0 }),
                note: None,
            }),
            Self::Terminal(ask) => answer::<Terminal>(set, component, ask, looking::terminal),
            Self::Network(ask) => answer::<Network>(set, component, ask, |permit| {
                looking::network(permit, config.allowed_ranges.clone())
            }),
            Self::Custom(ask) => {
                let what = format!("call `{}`", ask.handler);
                let answer = answer::<Custom>(set, component, ask, |_| Sight {
                    found: None,
                    note: Some("whether the handler is loaded: packctl handlers ls".to_owned()),
                });
                match answer.allowed() {
                    true => Answer {
                        sentence: format!("`{component}` may {what}"),
                        ..answer
                    },
                    false => answer,
                }
            }
            Self::Tunnel(ask) => answer::<Tunnel>(set, component, ask, |permit| {
                looking::tunnel(permit, config.allowed_ranges.clone())
            }),
            Self::Resolve(ask) => answer::<Resolve>(set, component, ask, |permit| Sight {
                found: Some(()),
                note: Some(ports(permit)),
            }),
            Self::Refused(denial) => Answer::no(set, denial),
        }
    }
}

fn ports(permit: &Permit<Resolve>) -> String {
    let ports = permit.terms().ports().iter().map(ToString::to_string);
    let ports: Vec<String> = ports.collect();
    format!("its ports {} may be opened", ports.join(", "))
}

/// What of docker/config.json has a say in decisions.
#[derive(Debug, Default)]
pub(crate) struct Config {
    allowed_ranges: Vec<Cidr>,
}

impl Config {
    /// Reads the file; what cannot be read allows nothing, and the broker reports it.
    pub(crate) fn read(context: &Context) -> Self {
        let read = || {
            let text = fs::read(context.home().ok()?.join("docker/config.json")).ok()?;
            let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
            let ranges = config.pointer("/network/allowed_ranges")?.as_array()?;
            Some(
                ranges
                    .iter()
                    .filter_map(|range| range.as_str()?.parse().ok())
                    .collect(),
            )
        };
        Self {
            allowed_ranges: read().unwrap_or_default(),
        }
    }
}

fn absolute(path: &str) -> Result<AbsPath, String> {
    path.parse()
        .map_err(|error: rumi_policy::SpellingError| error.to_string())
}

fn answer<C: Capability>(
    set: &PolicySet,
    component: &ComponentId,
    ask: C::Ask,
    look: impl FnOnce(&Permit<C>) -> Sight<C::Found>,
) -> Answer {
    let what = format!("{} `{}`", C::action(&ask), C::target(&ask));
    let permit = match decide::<C>(set, component, ask, now()) {
        Ok(permit) => permit,
        Err(denial) => return Answer::no(set, denial),
    };
    let mut sight = look(&permit);
    let grant = permit.grant().to_owned();
    let conditions = permit.conditions();
    if conditions.counts_uses() && C::is_use(permit.ask()) {
        let counted = format!(
            "unless it is used up: `packctl grant show {component}` says how often it was used"
        );
        sight.note = Some(
            sight
                .note
                .map_or(counted.clone(), |note| format!("{note}; {counted}")),
        );
    }
    if let Some(found) = &sight.found
        && let Err(denial) = permit.confirm(found)
    {
        return Answer {
            note: sight.note,
            ..Answer::no(set, denial)
        };
    }
    Answer {
        decision: "allow",
        reason: None,
        sentence: format!("`{component}` may {what}"),
        detail: None,
        remedy: None,
        note: sight.note,
        grant: Some(grant),
        policy: set.hash().hex(),
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Answer {
    fn no(set: &PolicySet, denial: Denial) -> Self {
        Self {
            decision: "deny",
            reason: Some(denial.reason),
            sentence: denial.sentence,
            detail: denial.detail,
            remedy: denial.remedy.map(|remedy| remedy.to_string()),
            note: None,
            grant: None,
            policy: set.hash().hex(),
        }
    }

    pub(crate) fn allowed(&self) -> bool {
        self.decision == "allow"
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.reason
    }

    pub(crate) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The answer as text, one fact a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let reason = self.reason.map(|reason| reason.as_str().to_owned());
        [
            ("decision", Some(self.decision.to_owned())),
            ("reason", reason),
            ("sentence", Some(self.sentence.clone())),
            ("detail", self.detail.clone()),
            ("remedy", self.remedy.clone()),
            ("note", self.note.clone()),
            ("grant", self.grant.clone()),
            ("policy", Some(self.policy.clone())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name:9} {}", value?)))
        .collect()
    }
}
