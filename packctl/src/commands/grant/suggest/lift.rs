//! The narrowest change that lifts a denial, or why there is none.

use rumi_policy::{
    ComponentId, Denial, EnvReadAsk, FileReadAction, FileWriteAction, HandlerName, Permission,
    PermissionName, Reason,
    edit::{self, EditError, Edited},
};

use crate::asking::Question;

/// What to add to one permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands::grant) enum Addition {
    BuiltIn {
        permission: Permission,
        /// Directories, keys or hosts.
        values: Vec<String>,
        commands: Vec<String>,
        files: Vec<String>,
    },
    Handler(HandlerName),
}

/// One entry of a list that an addition makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) list: &'static str,
    pub(super) value: String,
    /// What it admits, in words.
    pub(super) admits: String,
}

impl Addition {
    fn new(permission: Permission, values: Vec<String>) -> Self {
        Self::BuiltIn {
            permission,
            values,
            commands: Vec::new(),
            files: Vec::new(),
        }
    }

    fn of_files(permission: Permission, files: Vec<String>) -> Self {
        Self::BuiltIn {
            permission,
            values: Vec::new(),
            commands: Vec::new(),
            files,
        }
    }

    pub(super) fn permission(&self) -> PermissionName {
        match self {
            Self::BuiltIn { permission, .. } => (*permission).into(),
            Self::Handler(handler) => PermissionName::Custom(handler.clone()),
        }
    }

    /// Adds it to a grant file.
    ///
    /// # Errors
    /// When the file does not take it.
    pub(in crate::commands::grant) fn apply(
        &self,
        before: Option<&[u8]>,
        component: &ComponentId,
    ) -> Result<Edited, EditError> {
        match self {
            Self::BuiltIn {
                permission,
                values,
                commands,
                files,
            } => {
                let change = edit::Change::parse(*permission, values, commands)?;
                edit::add(before, component, &change.with_files(files)?)
            }
            Self::Handler(handler) => edit::add_custom(before, component, handler, None),
        }
    }

    /// Its entries, each with what it admits.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry = |list, value: &String, admits: String| Entry {
            list,
            value: value.clone(),
            admits,
        };
        match self {
            Self::Handler(handler) => vec![entry(
                "",
                &handler.to_string(),
                "calls of the handler, with the configuration that its scope gives".to_owned(),
            )],
            Self::BuiltIn {
                permission,
                values,
                commands,
                files,
            } => {
                let mut entries = Vec::new();
                for value in values {
                    let (list, admits) = of_value(*permission, value);
                    entries.push(entry(list, value, admits));
                }
                for command in commands {
                    let admits =
                        "this program, with any arguments, in each directory that is listed";
                    entries.push(entry("allowed_commands", command, admits.to_owned()));
                }
                for file in files {
                    let admits = match permission {
                        Permission::FileWrite => "making, writing and removing this path alone",
                        _ => "reading this path alone",
                    };
                    entries.push(entry("files", file, admits.to_owned()));
                }
                entries
            }
        }
    }
}

fn of_value(permission: Permission, value: &str) -> (&'static str, String) {
    match permission {
        Permission::FileRead => (
            "directories",
            "listing this directory, and reading everything below it".to_owned(),
        ),
        Permission::FileWrite => ("directories", "writing everything below it".to_owned()),
        Permission::Terminal => (
            "directories",
            "commands that see and change everything below it".to_owned(),
        ),
        Permission::EnvRead => ("allowed_keys", "reading this key alone".to_owned()),
        Permission::Network => {
            let port = match value.rsplit_once(':') {
                Some((_, port)) if !value.ends_with(']') => port,
                _ => "443",
            };
            (
                "allowed_domains",
                format!("HTTP and TLS to port {port} of this host alone"),
            )
        }
    }
}

/// What would lift this denial of this request.
///
/// # Errors
/// Why nothing should.
pub(super) fn lift(question: &Question, denial: &Denial) -> Result<Addition, String> {
    if let Some(why) = no_grant_lifts(denial.reason.as_str()) {
        return Err(match &denial.detail {
            Some(detail) => format!("{why} ({detail})"),
            None => why.to_owned(),
        });
    }
    let narrow = |path: &rumi_policy::AbsPath| match path.is_root() {
        true => Err("`/` is everything; grant what is meant by hand".to_owned()),
        false => Ok(path.to_string()),
    };
    match question {
        Question::FileRead(ask) => {
            let path = narrow(&ask.path)?;
            Ok(match ask.action {
                FileReadAction::List => Addition::new(Permission::FileRead, vec![path]),
                FileReadAction::Read { .. } | FileReadAction::Stat => {
                    Addition::of_files(Permission::FileRead, vec![path])
                }
            })
        }
        Question::FileWrite(ask) => {
            let mut files = vec![narrow(&ask.path)?];
            if let FileWriteAction::Rename { to } = &ask.action {
                files.push(narrow(to)?);
            }
            Ok(Addition::of_files(Permission::FileWrite, files))
        }
        Question::EnvRead(EnvReadAsk::One(key)) => {
            Ok(Addition::new(Permission::EnvRead, vec![key.to_string()]))
        }
        Question::EnvRead(EnvReadAsk::All) => {
            Err("it asks for whatever there is; grant the keys it needs, one by one".to_owned())
        }
        Question::Terminal(ask) => Ok(Addition::BuiltIn {
            permission: Permission::Terminal,
            values: vec![narrow(ask.directory())?],
            commands: vec![ask.program().to_string()],
            files: Vec::new(),
        }),
        Question::Network(_) | Question::Tunnel(_) | Question::Resolve(_) => network(denial),
        Question::Custom(ask) => Ok(Addition::Handler(ask.handler.clone())),
        Question::Refused(denial) => Err(denial.sentence.clone()),
    }
}

/// The policy itself names the host and the port.
fn network(denial: &Denial) -> Result<Addition, String> {
    let Some(remedy) = &denial.remedy else {
        return Err(format!("no entry would lift it: {}", denial.sentence));
    };
    let values: Vec<String> = remedy.argv().iter().skip(5).cloned().collect();
    if values.iter().any(|value| value.starts_with("tcp://")) {
        return Err(format!(
            "its port is closed to HTTP and TLS, and a `tcp` entry carries anything; if that is meant: {remedy}"
        ));
    }
    Ok(Addition::new(Permission::Network, values))
}

/// Why a denial with this reason is not for a new entry to lift; nothing where one would.
pub(super) fn no_grant_lifts(reason: &str) -> Option<&'static str> {
    let liftable = [
        Reason::NoGrant,
        Reason::OutsideDirectory,
        Reason::PatternExcluded,
        Reason::KeyNotAllowed,
        Reason::CommandNotAllowed,
        Reason::DomainNotAllowed,
        Reason::PortNotAllowed,
    ];
    if liftable.iter().any(|one| one.as_str() == reason) {
        return None;
    }
    Some(match reason {
        "forbidden_by_scope" => "a scope, or the broker itself, forbids it to every component",
        "blocked_address" => {
            "its address is never dialled; exceptions are `network.allowed_ranges` of docker/config.json"
        }
        "bad_request" => "it was no request that could be judged",
        "sni_mismatch" => {
            "what was sent is not TLS for the granted host; only a `tcp` entry would carry it, and that carries anything"
        }
        "method_not_allowed" | "path_not_allowed" => {
            "the grant narrows `methods` or `paths`, for all of its hosts at once; widen them by hand if that is meant"
        }
        "disabled" => {
            "the permission is switched off; switching it on brings back all that it lists"
        }
        "expired" | "not_yet_valid" | "exhausted" | "rate_limited" => {
            "the grant names it, and its conditions end it; extend them by hand if that is meant"
        }
        "too_large" | "scope_limit" | "quota" => {
            "it was larger than the grant or the scope allows; raise the number by hand if that is meant"
        }
        "not_a_file" => "what lies there is not what was asked for",
        "root_owned" => "a command runs as the owner of its directory, and never as root",
        "revoked" => "the grant was taken away while it was open",
        "not_approved" => "the pack has to be approved first",
        "approval_refused" | "approval_timeout" => "an admin was asked and did not allow it",
        "grant_invalid" | "scope_invalid" => {
            "a file of the policy is not valid; `packctl grant lint` names it"
        }
        "unknown_component" => "there is nobody of that name to ask",
        "audit_unavailable" => "the log could not be written",
        _ => "no entry of a grant lifts it",
    })
}
