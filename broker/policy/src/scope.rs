//! Scopes: what may ever be asked, whatever a grant says.

pub(crate) mod custom;

use std::sync::Arc;

use crate::grant::Command;
use crate::grant::network::ports;
use crate::host::{Domain, Port};
use crate::json::{Fields, JsonError, Node};
use crate::method::HttpMethod;
use crate::path::AbsPath;
use crate::pattern::Pattern;
use crate::permission::Permission;
use crate::problem::Problem;
use crate::rules::forbidden::{Forbidden, ForbiddenPath};
use crate::rules::{EnvLimits, FileLimits, KeyPattern, NetworkLimits, TerminalLimits};

/// The one version of the format there is. Another one is refused, because a key this broker
/// does not know might be the one that forbids.
const VERSION: &str = "1.0";

/// The methods there are where neither scope nor grant names any.
pub(crate) const USUAL_METHODS: [&str; 7] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A scope, read and compiled.
#[derive(Debug)]
pub struct Scope {
    permission: Permission,
    description: String,
    pub(crate) terms: Terms,
}

/// What a scope says, by permission.
#[derive(Debug)]
pub(crate) enum Terms {
    FileRead(FileTerms),
    FileWrite(FileTerms),
    EnvRead(EnvTerms),
    Terminal(TerminalTerms),
    Network(NetworkTerms),
}

#[derive(Debug)]
pub(crate) struct FileTerms {
    pub(crate) limits: Arc<FileLimits>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) max_bytes: Bound,
    /// Only writing has one.
    pub(crate) quota: Option<QuotaTerms>,
}

#[derive(Debug)]
pub(crate) struct QuotaTerms {
    pub(crate) bytes: Bound,
    pub(crate) files: Bound,
}

#[derive(Debug)]
pub(crate) struct EnvTerms {
    pub(crate) limits: Arc<EnvLimits>,
    pub(crate) max_bytes: Bound,
}

#[derive(Debug)]
pub(crate) struct TerminalTerms {
    pub(crate) limits: Arc<TerminalLimits>,
    pub(crate) timeout_ms: Bound,
    pub(crate) max_output_bytes: Bound,
    pub(crate) memory_mb: Bound,
}

#[derive(Debug)]
pub(crate) struct NetworkTerms {
    pub(crate) limits: Arc<NetworkLimits>,
    pub(crate) ports: Vec<Port>,
    pub(crate) methods: Vec<HttpMethod>,
    pub(crate) timeout_ms: Bound,
    pub(crate) max_response_bytes: Bound,
}

/// A number with what applies when a grant is silent, and what no grant exceeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) default: u64,
    pub(crate) limit: Option<u64>,
}

impl Scope {
    pub fn permission(&self) -> Permission {
        self.permission
    }

    pub fn version(&self) -> &str {
        VERSION
    }

    pub fn description(&self) -> &str {
        &self.description
    }

    /// Reads the scope of the permission that the file is named for. `protected` are the
    /// broker's own paths, which every scope forbids without saying so.
    pub fn parse(file_name: &str, bytes: &[u8], protected: &[AbsPath]) -> Result<Self, Problem> {
        let file = format!("scopes/{file_name}");
        let stem = file_name.strip_suffix(".json").unwrap_or(file_name);
        let permission = stem.parse::<Permission>().map_err(|error| {
            let error = JsonError::whole(format!("the file's name is wrong: {error}"));
            Problem::new(
                &file,
                error,
                "rename or remove it; it has no effect as it is",
            )
        })?;
        Self::read(permission, bytes, protected).map_err(|error| {
            let remedy = format!(
                "correct it as scopes/scope.schema.json says; until then `{permission}` is denied to everybody"
            );
            Problem::new(&file, error, remedy)
        })
    }

    fn read(
        permission: Permission,
        bytes: &[u8],
        protected: &[AbsPath],
    ) -> Result<Self, JsonError> {
        let mut fields = Fields::open("", Node::parse(bytes)?)?;
        let description = read_head(&mut fields)?;
        let mut defaults = Fields::open("default_config", fields.require("default_config")?)?;
        let mut limits = Fields::open("limits", fields.require("limits")?)?;
        let terms = match permission {
            Permission::FileRead => {
                Terms::FileRead(read_file(&mut defaults, &mut limits, protected, 4 << 30)?)
            }
            Permission::FileWrite => {
                let mut terms = read_file(&mut defaults, &mut limits, protected, 1 << 30)?;
                terms.quota = Some(QuotaTerms {
                    bytes: bound(&mut defaults, &mut limits, "quota_bytes", 16 << 30)?,
                    files: bound(&mut defaults, &mut limits, "quota_files", 100_000)?,
                });
                Terms::FileWrite(terms)
            }
            Permission::EnvRead => Terms::EnvRead(read_env(&mut defaults, &mut limits)?),
            Permission::Terminal => {
                Terms::Terminal(read_terminal(&mut defaults, &mut limits, protected)?)
            }
            Permission::Network => Terms::Network(read_network(&mut defaults, &mut limits)?),
        };
        defaults.finish()?;
        limits.finish()?;
        fields.finish()?;
        Ok(Self {
            permission,
            description,
            terms,
        })
    }
}

/// Reads what all scopes begin with, and gives the description.
fn read_head(fields: &mut Fields) -> Result<String, JsonError> {
    if let Some(node) = fields.take("$schema") {
        fields.text("$schema", node)?;
    }
    let version = fields.required_text("version")?;
    if version != VERSION {
        let shown = crate::spelling::excerpt(&version);
        let message = format!("version `{shown}` is not known; this broker knows `{VERSION}`");
        return Err(fields.error("version", message));
    }
    fields.required_text("description")
}

fn bound(
    defaults: &mut Fields,
    limits: &mut Fields,
    key: &'static str,
    fallback: u64,
) -> Result<Bound, JsonError> {
    let default = defaults.number(key, u64::MAX)?.unwrap_or(fallback);
    Ok(Bound {
        default,
        limit: limits.number(key, u64::MAX)?,
    })
}

fn forbidden(limits: &mut Fields, protected: &[AbsPath]) -> Result<Forbidden, JsonError> {
    let entries: Vec<ForbiddenPath> = limits.list("forbidden")?.unwrap_or_default();
    Ok(Forbidden::new(&entries, protected))
}

fn read_file(
    defaults: &mut Fields,
    limits: &mut Fields,
    protected: &[AbsPath],
    fallback: u64,
) -> Result<FileTerms, JsonError> {
    Ok(FileTerms {
        exclude: defaults.list("exclude")?.unwrap_or_default(),
        max_bytes: bound(defaults, limits, "max_bytes", fallback)?,
        quota: None,
        limits: Arc::new(FileLimits {
            forbidden: forbidden(limits, protected)?,
        }),
    })
}

fn read_env(defaults: &mut Fields, limits: &mut Fields) -> Result<EnvTerms, JsonError> {
    let forbidden: Vec<KeyPattern> = limits.list("forbidden")?.unwrap_or_default();
    Ok(EnvTerms {
        max_bytes: bound(defaults, limits, "max_bytes", 64 << 10)?,
        limits: Arc::new(EnvLimits { forbidden }),
    })
}

fn read_terminal(
    defaults: &mut Fields,
    limits: &mut Fields,
    protected: &[AbsPath],
) -> Result<TerminalTerms, JsonError> {
    let forbidden_commands: Vec<Command> = limits.list("forbidden_commands")?.unwrap_or_default();
    let allow_host_mode = match limits.take("allow_host_mode") {
        Some(node) => limits.bool("allow_host_mode", node)?,
        None => false,
    };
    Ok(TerminalTerms {
        timeout_ms: bound(defaults, limits, "timeout_ms", 30_000)?,
        max_output_bytes: bound(defaults, limits, "max_output_bytes", 1 << 20)?,
        memory_mb: bound(defaults, limits, "memory_mb", 512)?,
        limits: Arc::new(TerminalLimits {
            forbidden: forbidden(limits, protected)?,
            forbidden_commands,
            allow_host_mode,
        }),
    })
}

fn read_network(defaults: &mut Fields, limits: &mut Fields) -> Result<NetworkTerms, JsonError> {
    let usual = || {
        USUAL_METHODS
            .into_iter()
            .filter_map(|method| method.parse().ok())
            .collect()
    };
    let forbidden: Vec<Domain> = limits.list("forbidden")?.unwrap_or_default();
    let forbidden_ports = ports(limits, "forbidden_ports")?.unwrap_or_default();
    let forbidden_tcp_ports = ports(limits, "forbidden_tcp_ports")?.unwrap_or_default();
    let default_ports = ports(defaults, "allowed_ports")?;
    Ok(NetworkTerms {
        ports: default_ports.map_or_else(
            || vec![Port::HTTPS],
            |ports| ports.into_iter().filter_map(Port::new).collect(),
        ),
        methods: defaults.list("methods")?.unwrap_or_else(usual),
        timeout_ms: bound(defaults, limits, "timeout_ms", 30_000)?,
        max_response_bytes: bound(defaults, limits, "max_response_bytes", 64 << 20)?,
        limits: Arc::new(NetworkLimits {
            forbidden,
            forbidden_ports: forbidden_ports.into_iter().filter_map(Port::new).collect(),
            forbidden_tcp_ports: forbidden_tcp_ports
                .into_iter()
                .filter_map(Port::new)
                .collect(),
        }),
    })
}
