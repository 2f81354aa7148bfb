//! One component of a pack: what runs it, and with which settings.

use std::sync::Arc;

use super::line;
use crate::ids::{ComponentId, EnvKey};
use crate::json::{Fields, JsonError, Node};
use crate::path::{AbsPath, RelPath};
use crate::spelling::{SpellingError, excerpt, text_type};

/// Variables that one component may set, and how long the value of one may be.
const MOST_VARIABLES: usize = 64;
const LONGEST_VALUE: usize = 4096;
/// What the broker and the guest set themselves.
const OWN_VARIABLES: &str = "RUMI_";

#[derive(Clone, Debug)]
pub struct ComponentManifest {
    pub id: ComponentId,
    pub name: String,
    pub runner: Runner,
    pub entry: RelPath,
    pub description: String,
    /// JSON Schema of the arguments.
    pub schema: Option<serde_json::Value>,
    pub timeout_ms: Option<u64>,
    pub memory_mb: Option<u32>,
    /// The interpreter inside the container, where the usual one does not suit.
    pub python_path: Option<AbsPath>,
    /// Where it begins, inside the container.
    pub working_dir: Option<AbsPath>,
    /// Variables of its environment. Everybody who reads the manifest sees them.
    pub env: Vec<(EnvKey, String)>,
}

/// What runs a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runner {
    Python,
    JavaScript,
    Bash,
    /// One that the configuration names.
    Configured(RunnerName),
}

impl Runner {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Bash => "bash",
            Self::Configured(name) => name.as_str(),
        }
    }

    /// How the names of its files end; a configured runner takes any.
    fn endings(&self) -> &'static [&'static str] {
        match self {
            Self::Python => &[".py"],
            Self::JavaScript => &[".js", ".cjs", ".mjs"],
            Self::Bash => &[".sh", ".bash"],
            Self::Configured(_) => &[],
        }
    }
}

impl std::str::FromStr for Runner {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        match text {
            "python" | "py" => Ok(Self::Python),
            "javascript" | "js" => Ok(Self::JavaScript),
            "bash" => Ok(Self::Bash),
            other => other.parse().map(Self::Configured),
        }
    }
}

/// Name of a runner that the configuration adds: `[a-z][a-z0-9_-]{0,31}`, and none that there is already.
#[derive(Clone)]
pub struct RunnerName {
    text: Arc<str>,
}
text_type!(RunnerName);

impl RunnerName {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| Err(SpellingError::new("the name of a runner", text, why));
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return refuse("it must begin with a lower-case letter");
        }
        if text.len() > 32 {
            return refuse("it is longer than 32 characters");
        }
        if !text.bytes().all(allowed) {
            return refuse("only lower-case letters, digits, `_` and `-` are allowed");
        }
        if matches!(text, "python" | "py" | "javascript" | "js" | "bash") {
            return refuse("that is a runner of the broker's own");
        }
        Ok(Self { text: text.into() })
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<ComponentManifest, JsonError> {
    let schema = match fields.take("schema") {
        None => None,
        Some(node @ Node::Object(_)) => Some(node.into_value()),
        Some(other) => {
            let message = format!("this must be a JSON Schema, not {}", other.kind());
            return Err(fields.error("schema", message));
        }
    };
    let runner: Runner = fields.parsed("runner")?;
    let entry: RelPath = fields.parsed("entry")?;
    let endings = runner.endings();
    if !endings.is_empty() && !endings.iter().any(|end| entry.as_str().ends_with(end)) {
        let endings: Vec<_> = endings.iter().map(|end| format!("`{end}`")).collect();
        let message = format!(
            "`{entry}` must end in {} for this runner",
            endings.join(" or ")
        );
        return Err(fields.error("entry", message));
    }
    let python_path: Option<AbsPath> = fields.parsed_if_present("python_path")?;
    if python_path.is_some() && runner != Runner::Python {
        let message = format!(
            "this is for the runner `python`; this component has `{}`",
            runner.as_str()
        );
        return Err(fields.error("python_path", message));
    }
    Ok(ComponentManifest {
        id: fields.parsed("id")?,
        name: line(fields, "name", 100)?,
        runner,
        entry,
        description: line(fields, "description", 1000)?,
        schema,
        timeout_ms: fields.number("timeout_ms", 86_400_000)?,
        memory_mb: fields.small_number("memory_mb", 1 << 20)?,
        python_path,
        working_dir: fields.parsed_if_present("working_dir")?,
        env: read_env(fields)?,
    })
}

fn read_env(fields: &mut Fields) -> Result<Vec<(EnvKey, String)>, JsonError> {
    let Some(node) = fields.take("env") else {
        return Ok(Vec::new());
    };
    let mut inner = Fields::open(fields.name("env"), node)?;
    let entries = inner.drain();
    if entries.len() > MOST_VARIABLES {
        return Err(fields.error("env", format!("more than {MOST_VARIABLES} variables")));
    }
    let mut variables = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name: EnvKey = key
            .parse()
            .map_err(|error: SpellingError| inner.error(&key, error.to_string()))?;
        if key.starts_with(OWN_VARIABLES) {
            let message = format!("names that begin with `{OWN_VARIABLES}` are set by rumi");
            return Err(inner.error(&key, message));
        }
        let value = inner.text(&key, node)?;
        if value.len() > LONGEST_VALUE || value.contains('\0') {
            let message = format!(
                "`{}` is longer than {LONGEST_VALUE} bytes or holds a NUL",
                excerpt(&value)
            );
            return Err(inner.error(&key, message));
        }
        variables.push((name, value));
    }
    Ok(variables)
}
