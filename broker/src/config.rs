//! `docker/config.json`: limits and run-time settings. Every key may be left out.
//!
//! The shapes here and `docker/config.schema.json` say the same; a test compares the shipped
//! file with the defaults below.

mod allowed;
mod exec;
mod libraries;
mod requests;
mod runners;
mod runtime;
mod validation;
mod values;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rumi_policy::Cidr;
use serde::{Deserialize, Deserializer, de::Error as _};

pub use allowed::AllowedRequirements;
pub use exec::ExecSettings;
pub use libraries::Libraries;
pub use requests::RequestSettings;
pub use runners::{EnvironmentError, PythonDefaults, Runners};
pub use runtime::Runtime;
pub use validation::{Exemptions, ValidationSettings};
pub use values::{
    ByteSize, Concurrency, Cpus, MemoryMb, Millis, Pids, Questions, Resolver, Spares, Tunnels,
    WaitingRequests,
};

/// Largest message either way, in bytes.
pub const MESSAGE: u64 = 4 * 1024 * 1024;

/// All settings, with their defaults where the file is silent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    #[serde(rename = "$schema")]
    schema: Option<String>,
    /// What all containers run under; `None` for the engine's own choice.
    pub runtime: Option<Runtime>,
    /// Limits of a pack's container.
    pub pack: PackSettings,
    /// A pack's persistent work area.
    pub workspace: WorkspaceSettings,
    /// Limits of one tool call where the manifest names none.
    pub tool: ToolSettings,
    /// What runs tools, beside the broker's own runners.
    pub runners: Runners,
    /// What the broker's environment says of tools in Python.
    #[serde(skip)]
    pub python: PythonDefaults,
    /// Limits of the container of one terminal command.
    pub terminal: TerminalSettings,
    /// Requests to the network.
    pub network: NetworkSettings,
    /// Where granted keys are looked for.
    pub env: EnvSettings,
    /// The audit log.
    pub audit: AuditSettings,
    /// What goes into the base image.
    pub base: BaseSettings,
    /// Building packs' images.
    pub build: BuildSettings,
    /// Starting packs.
    pub start: StartSettings,
    /// What a pack may have of the broker at once.
    pub requests: RequestSettings,
    /// Requests that wait for the admin.
    pub approvals: ApprovalSettings,
    /// Code that somebody just wrote.
    pub exec: ExecSettings,
}

/// Limits of a pack's container; a manifest may ask for less, never for more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackSettings {
    /// Memory of all processes and of /tmp together.
    pub memory_limit: ByteSize,
    /// Processors' worth of time.
    pub cpus: Cpus,
    /// Processes and threads at once.
    pub pids: Pids,
    /// Size of /tmp.
    pub tmp_size: ByteSize,
}

impl Default for PackSettings {
    fn default() -> Self {
        Self {
            memory_limit: ByteSize::mebibytes(256),
            cpus: Cpus::from_nanos(500_000_000),
            pids: Pids::new(100),
            tmp_size: ByteSize::mebibytes(64),
        }
    }
}

/// A pack's persistent work area.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspaceSettings {
    /// Size of the file system that holds it.
    pub size_limit: ByteSize,
    /// Whether a pack may start without the limit on a host that has no loop devices.
    pub allow_unlimited: bool,
}

impl Default for WorkspaceSettings {
    fn default() -> Self {
        Self {
            size_limit: ByteSize::mebibytes(256),
            allow_unlimited: false,
        }
    }
}

/// Limits of one tool call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolSettings {
    /// Time until a call is ended.
    pub timeout_ms: Millis,
    /// MiB that a call and its children may use.
    pub memory_mb: MemoryMb,
    /// Bytes kept of each of stdout and stderr.
    pub max_output: ByteSize,
    /// Interpreters that wait ready.
    pub spares: Spares,
}

impl Default for ToolSettings {
    fn default() -> Self {
        Self {
            timeout_ms: Millis::new(30_000),
            memory_mb: MemoryMb::new(256),
            max_output: ByteSize::mebibytes(1),
            spares: Spares::new(1),
        }
    }
}

/// Limits of the container of one terminal command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TerminalSettings {
    /// Memory of the command and its children.
    pub memory_limit: ByteSize,
    /// Processors' worth of time.
    pub cpus: Cpus,
    /// Processes and threads at once.
    pub pids: Pids,
    /// Size of /tmp.
    pub tmp_size: ByteSize,
    /// Time until it is ended.
    pub timeout_ms: Millis,
    /// Bytes kept of each of stdout and stderr.
    pub max_output: ByteSize,
}

impl Default for TerminalSettings {
    fn default() -> Self {
        Self {
            memory_limit: ByteSize::mebibytes(512),
            cpus: Cpus::from_nanos(1_000_000_000),
            pids: Pids::new(128),
            tmp_size: ByteSize::mebibytes(64),
            timeout_ms: Millis::new(30_000),
            max_output: ByteSize::mebibytes(1),
        }
    }
}

/// Requests to the network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// Ranges that may be reached although the table refuses them.
    pub allowed_ranges: Vec<Cidr>,
    /// Name servers to ask; empty for the system's.
    pub resolvers: Vec<Resolver>,
    /// From the request to the last byte of the reply.
    pub timeout_ms: Millis,
    /// Bytes of a reply's body.
    pub max_response: ByteSize,
    /// Tunnels and proxied requests that a pack may have open at once.
    pub tunnels: Tunnels,
    /// How long a tunnel or a proxied body may be silent both ways.
    pub idle_timeout_ms: Millis,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            allowed_ranges: Vec::new(),
            resolvers: Vec::new(),
            timeout_ms: Millis::new(30_000),
            max_response: ByteSize::mebibytes(3),
            tunnels: Tunnels::new(64),
            idle_timeout_ms: Millis::new(600_000),
        }
    }
}

/// Where granted keys are looked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvSettings {
    /// The first that has the key wins.
    pub sources: Vec<EnvSource>,
}

impl Default for EnvSettings {
    fn default() -> Self {
        Self {
            sources: vec![EnvSource::Secrets, EnvSource::Environment],
        }
    }
}

/// A place that values of keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// What `packctl secret` keeps.
    Secrets,
    /// The broker's own environment.
    Environment,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// What a record survives.
    pub durability: Durability,
    /// Size at which the log goes on in a new file.
    pub segment_size: ByteSize,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            segment_size: ByteSize::mebibytes(64),
        }
    }
}

/// What a record survives before its effect happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The death of the broker.
    Process,
    /// A power cut.
    Power,
}

/// What goes into the base image.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaseSettings {
    /// Programs on top of Python and the core utilities.
    pub tools: BTreeSet<BaseTool>,
}

/// A program that the base image can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseTool {
    /// curl.
    Curl,
    /// git.
    Git,
}

/// Building packs' images.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildSettings {
    /// The host's pip, which downloads wheels.
    #[serde(deserialize_with = "argv")]
    pub pip: Vec<String>,
    /// PEM file lent to a build that may use the network; `None` for the system's.
    #[serde(deserialize_with = "absolute")]
    pub ca_bundle: Option<PathBuf>,
    /// Packages that packs may require.
    pub allowed_requirements: AllowedRequirements,
    /// Packs whose Dockerfile may use the network.
    pub networked_packs: BTreeSet<String>,
    /// Time until a build is ended.
    pub timeout_ms: Millis,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            pip: ["python3", "-m", "pip"].map(String::from).to_vec(),
            ca_bundle: None,
            allowed_requirements: AllowedRequirements::default(),
            networked_packs: BTreeSet::new(),
            timeout_ms: Millis::new(600_000),
        }
    }
}

/// Starting packs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartSettings {
    /// Containers created and started at the same time.
    pub concurrency: Concurrency,
}

impl Default for StartSettings {
    fn default() -> Self {
        Self {
            concurrency: Concurrency::new(4),
        }
    }
}

/// Requests that wait for the admin's answer, because a grant says `ask`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalSettings {
    /// How long a request waits.
    pub timeout_ms: Millis,
    /// Requests of a component that wait at once; further ones are refused.
    pub waiting: WaitingRequests,
    /// How often within a minute a component may have the admin asked.
    pub per_minute: Questions,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self {
            timeout_ms: Millis::new(30_000),
            waiting: WaitingRequests::new(8),
            per_minute: Questions::new(20),
        }
    }
}

fn argv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(D::Error::custom(
            "`pip` needs at least one word and no empty ones",
        ));
    }
    Ok(words)
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    match path {
        Some(path) if !path.is_absolute() => Err(D::Error::custom(format_args!(
            "`{}` is not an absolute path",
            path.display()
        ))),
        path => Ok(path),
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read `{path}`: {source}; remedy: put the shipped docker/config.json there, or a file that holds {{}}"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The file is not JSON, or says something that is not a setting.
    #[error("`{path}`, line {}, column {}: {}; remedy: correct that line (docker/config.schema.json lists what may stand there)", .source.line(), .source.column(), plain(.source))]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where in it, and why.
        source: serde_json::Error,
    },
}

/// The message without its position, which is said before it.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// When the file is missing, is not JSON, has an unknown or a duplicate key, or a value out of range.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Config::load(file.path()).map_err(|error| {
            error
                .to_string()
                .replace(file.path().to_str().unwrap(), "FILE")
        })
    }

    #[test]
    fn the_shipped_file_says_what_the_defaults_say() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/config.json");
        let mut shipped = Config::load(&shipped).unwrap();
        shipped.schema = None;
        assert_eq!(shipped, Config::default());
        assert_eq!(load("{}").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_file_line_and_remedy() {
        let cases = [
            (
                "{\n  \"pack\": {\"memory_limit\": \"256\"}\n}",
                "line 2",
                "`256` is not a size",
            ),
            (
                "{\"pack\": {\"memory_limit\": \"0m\"}}",
                "line 1",
                "is not a size",
            ),
            ("{\"pack\": {\"pids\": 4}}", "line 1", "`4` is out of range"),
            ("{\"pack\": {\"cpus\": 0}}", "line 1", "cpus lies between"),
            (
                "{\"requests\": {\"in_flight\": 0}}",
                "line 1",
                "`0` is out of range",
            ),
            (
                "{\"requests\": {\"connections\": 15}}",
                "line 1",
                "a number of connections lies between 16 and",
            ),
            (
                "{\"runtime\": \"../runc\"}",
                "line 1",
                "`../runc` is no name of a runtime",
            ),
            ("{\"runtime\": \"\"}", "line 1", "is no name of a runtime"),
            ("{\"packs\": {}}", "line 1", "unknown field `packs`"),
            (
                "{\"tool\": {\"spares\": 1,\n\"spares\": 2}}",
                "line 2",
                "duplicate field `spares`",
            ),
            (
                "{\"env\": {\"sources\": [\"vault\"]}}",
                "line 1",
                "unknown variant `vault`",
            ),
            (
                "{\"network\": {\"allowed_ranges\": [\"10.0.0.0/33\"]}}",
                "line 1",
                "is not an address range",
            ),
            (
                "{\"build\": {\"ca_bundle\": \"x.pem\"}}",
                "line 1",
                "not an absolute path",
            ),
            ("{\"build\": {\"pip\": []}}", "line 1", "at least one word"),
            (
                "{\"exec\": {\"validation\": {\"rules\": [\"syntax\"]}}}",
                "line 1",
                "`syntax` is not a rule that is switched on and off",
            ),
            (
                "{\"exec\": {\"validation\": {\"python\": {\"imports\": [\"a b\"]}}}}",
                "line 1",
                "`a b` is not a name",
            ),
            ("{", "line 1", "EOF"),
            ("", "line 1", "EOF"),
        ];
        for (text, line, part) in cases {
            let message = load(text).unwrap_err();
            for wanted in ["`FILE`", line, part, "remedy"] {
                assert!(message.contains(wanted), "{text}: {message} lacks {wanted}");
            }
        }
        let missing = Config::load(Path::new("/nonexistent/config.json")).unwrap_err();
        assert!(missing.to_string().contains("remedy"));
    }
}
