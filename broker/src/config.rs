//! `docker/config.json`: limits and run-time settings. Every key may be left out.
//!
//! The shapes here and `docker/config.schema.json` say the same; a test compares the shipped
//! file with the defaults below.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// All settings, with their defaults where the file is silent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    #[serde(rename = "$schema")]
    schema: Option<String>,
    /// Limits of a pack's container.
    pub pack: PackSettings,
    /// A pack's persistent work area.
    pub workspace: WorkspaceSettings,
    /// Limits of one tool call where the manifest names none.
    pub tool: ToolSettings,
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
            cpus: Cpus { nanos: 500_000_000 },
            pids: Pids(100),
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
            timeout_ms: Millis(30_000),
            memory_mb: MemoryMb(256),
            max_output: ByteSize::mebibytes(1),
            spares: Spares(1),
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
            cpus: Cpus { nanos: 1_000_000_000 },
            pids: Pids(128),
            tmp_size: ByteSize::mebibytes(64),
            timeout_ms: Millis(30_000),
            max_output: ByteSize::mebibytes(1),
        }
    }
}

/// Requests to the network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// Ranges that may be reached although the table refuses them.
    pub allowed_ranges: Vec<AddressRange>,
    /// Name servers to ask; empty for the system's.
    pub resolvers: Vec<Resolver>,
    /// From the request to the last byte of the reply.
    pub timeout_ms: Millis,
    /// Bytes of a reply's body.
    pub max_response: ByteSize,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            allowed_ranges: Vec::new(),
            resolvers: Vec::new(),
            timeout_ms: Millis(30_000),
            max_response: ByteSize::mebibytes(3),
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
    /// `secrets.json` in the state directory.
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
            networked_packs: BTreeSet::new(),
            timeout_ms: Millis(600_000),
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
            concurrency: Concurrency(4),
        }
    }
}

/// A whole number that only exists within the bounds the schema names.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($repr:ty), $low:literal ..= $high:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name($repr);

        impl $name {
            /// The number.
            #[must_use]
            pub fn get(self) -> $repr {
                self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$repr>::deserialize(deserializer)?;
                if ($low..=$high).contains(&number) {
                    return Ok(Self(number));
                }
                Err(D::Error::custom(format_args!(
                    "`{number}` is out of range; {} lies between {} and {}", $what, $low, $high
                )))
            }
        }
    };
}

bounded!(
    /// Processes and threads that may exist at once.
    Pids(u32), 8..=32_768, "a number of processes"
);
bounded!(
    /// MiB of memory of one call.
    MemoryMb(u64), 16..=65_536, "memory_mb"
);
bounded!(
    /// Interpreters that wait ready.
    Spares(u8), 0..=4, "a number of spares"
);
bounded!(
    /// Containers started at the same time.
    Concurrency(u16), 1..=64, "the concurrency"
);
bounded!(
    /// A span of time.
    Millis(u64), 1..=86_400_000, "a time in milliseconds"
);

impl Millis {
    /// As the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl MemoryMb {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0 << 20
    }
}

/// A size in bytes, written as a whole number and k, m or g.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
    fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let shift = match unit {
            'k' => 10,
            'm' => 20,
            'g' => 30,
            _ => return None,
        };
        let digits = text.strip_suffix(unit)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || digits.len() > 6 || digits.starts_with('0') {
            return None;
        }
        digits.parse::<u64>().ok().map(|count| Self(count << shift))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a size; write a whole number and k, m or g, such as \"256m\""
            ))
        })
    }
}

/// Processors' worth of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus {
    nanos: i64,
}

impl Cpus {
    /// In billionths of a processor, which is how engines count.
    #[must_use]
    pub fn nanos(self) -> i64 {
        self.nanos
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if !(0.01..=1024.0).contains(&number) {
            return Err(D::Error::custom(format_args!(
                "`{number}` is out of range; cpus lies between 0.01 and 1024"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the bounds above keep the product far below 2^53"
        )]
        let nanos = (number * 1e9).round() as i64;
        Ok(Self { nanos })
    }
}

/// A range of addresses: an address and the number of leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u8,
}

impl AddressRange {
    /// The address as it was written.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }
    /// Leading bits that count.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split_once('/')
            .and_then(|(address, bits)| {
                let address: IpAddr = address.parse().ok()?;
                let bits: u8 = bits.parse().ok()?;
                let width = if address.is_ipv4() { 32 } else { 128 };
                (bits <= width).then_some(Self { address, bits })
            })
            .ok_or_else(|| {
                D::Error::custom(format_args!(
                    "`{text}` is not an address range; write ADDRESS/BITS, such as \"10.20.0.0/16\""
                ))
            })
    }
}

/// A name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolver(SocketAddr);

impl Resolver {
    /// Where it listens; port 53 where none was written.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl<'de> Deserialize<'de> for Resolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bare = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        bare.or_else(|_| text.parse()).map(Self).map_err(|_| {
            D::Error::custom(format_args!(
                "`{text}` is not a name server; write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT"
            ))
        })
    }
}

fn argv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err(D::Error::custom("`pip` needs at least one word and no empty ones"));
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
    #[error("cannot read `{path}`: {source}; remedy: put the shipped docker/config.json there, or a file that holds {{}}")]
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
        Config::load(file.path())
            .map_err(|error| error.to_string().replace(file.path().to_str().unwrap(), "FILE"))
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
            ("{\n  \"pack\": {\"memory_limit\": \"256\"}\n}", "line 2", "`256` is not a size"),
            ("{\"pack\": {\"memory_limit\": \"0m\"}}", "line 1", "is not a size"),
            ("{\"pack\": {\"pids\": 4}}", "line 1", "`4` is out of range"),
            ("{\"pack\": {\"cpus\": 0}}", "line 1", "cpus lies between"),
            ("{\"packs\": {}}", "line 1", "unknown field `packs`"),
            ("{\"tool\": {\"spares\": 1,\n\"spares\": 2}}", "line 2", "duplicate field `spares`"),
            ("{\"env\": {\"sources\": [\"vault\"]}}", "line 1", "unknown variant `vault`"),
            ("{\"network\": {\"allowed_ranges\": [\"10.0.0.0/33\"]}}", "line 1", "is not an address range"),
            ("{\"build\": {\"ca_bundle\": \"x.pem\"}}", "line 1", "not an absolute path"),
            ("{\"build\": {\"pip\": []}}", "line 1", "at least one word"),
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
