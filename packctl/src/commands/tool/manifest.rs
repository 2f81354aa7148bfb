//! The pack.json of a tool that was added.

use std::{collections::BTreeMap, fs, path::Path};

use rumi_policy::manifest::{Manifest, Runner};
use serde::Serialize;
use serde_json::value::RawValue;

use super::name::ToolName;
use crate::failure::Failure;

/// What is said of a tool on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Said {
    /// What runs the tool
    #[arg(long, value_name = "RUNNER", default_value = "python")]
    runner: Runner,

    /// JSON Schema of the arguments
    #[arg(long, value_name = "FILE")]
    schema: Option<String>,

    /// One line that says what the tool does
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// A package from PyPI, as `NAME==VERSION`; may be repeated
    #[arg(long = "requirement", value_name = "REQUIREMENT")]
    requirements: Vec<String>,

    /// The image to begin from, where the usual one of the runner does not suit: base, tools or node
    #[arg(long, value_name = "BASE")]
    base: Option<String>,

    /// Time for one call, in milliseconds
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,

    /// Memory for one call, in MiB
    #[arg(long, value_name = "MIB")]
    memory_mb: Option<u32>,

    /// A variable of its environment, which everybody who reads the pack sees; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,

    /// Directory inside the container in which a call begins
    #[arg(long, value_name = "DIR")]
    working_dir: Option<String>,

    /// Interpreter inside the container, for the runner python
    #[arg(long = "python", value_name = "PATH")]
    python_path: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "$schema")]
    of: &'static str,
    id: &'a str,
    version: &'static str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    requirements: &'a [String],
    components: [WrittenComponent<'a>; 1],
}

#[derive(Serialize)]
struct WrittenComponent<'a> {
    id: &'a str,
    name: String,
    runner: &'a str,
    entry: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mb: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    python_path: Option<&'a str>,
}

/// A manifest that the broker will take, and the name of the file that it runs.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) text: String,
    pub(super) entry: String,
}

impl Said {
    /// Writes the manifest and reads it as the broker does, before anything is changed.
    pub(super) fn manifest(&self, name: &ToolName) -> Result<Made, Failure> {
        let schema = self.schema.as_deref().map(schema).transpose()?;
        let runner = self.runner.as_str();
        let entry = format!("tool.{}", ending(runner));
        let fallback = format!("The tool {name}.");
        let description = self.description.as_deref().unwrap_or(&fallback);
        let written = Written {
            of: "../pack.schema.json",
            id: name.pack().as_str(),
            version: "1",
            description,
            base: self.base.as_deref(),
            requirements: &self.requirements,
            components: [WrittenComponent {
                id: name.component().as_str(),
                name: name.to_string(),
                runner,
                entry: &entry,
                description,
                schema: schema.as_deref(),
                timeout_ms: self.timeout_ms,
                memory_mb: self.memory_mb,
                env: self.variables()?,
                working_dir: self.working_dir.as_deref(),
                python_path: self.python_path.as_deref(),
            }],
        };
        let wrong = |why: String| Failure::Usage {
            message: format!("the tool `{name}` would be no valid pack: {why}"),
            hint: "packctl tool add --help".to_owned(),
        };
        let mut text = serde_json::to_string_pretty(&written).map_err(|e| wrong(e.to_string()))?;
        text.push('\n');
        Manifest::parse(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        Ok(Made { text, entry })
    }

    fn variables(&self) -> Result<BTreeMap<&str, &str>, Failure> {
        let mut variables = BTreeMap::new();
        for (key, value) in &self.env {
            if variables.insert(key.as_str(), value.as_str()).is_some() {
                return Err(Failure::Usage {
                    message: format!("the variable `{key}` is given twice"),
                    hint: "give each variable once".to_owned(),
                });
            }
        }
        Ok(variables)
    }
}

/// One variable; the manifest's reader judges name and value.
fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not `KEY=VALUE`"))
}

/// The text of a schema, as it was written: duplicate keys are for the manifest's reader to find.
fn schema(file: &str) -> Result<Box<RawValue>, Failure> {
    let path = Path::new(file);
    let text = fs::read_to_string(path).map_err(Failure::files("read", path))?;
    let wrong = |why: String| Failure::Usage {
        message: format!("`{file}` holds no JSON Schema: {why}"),
        hint: r#"an object such as {"type": "object", "properties": {"text": {"type": "string"}}}"#
            .to_owned(),
    };
    if !text.trim_start().starts_with('{') {
        return Err(wrong("it is no JSON object".to_owned()));
    }
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// How the names of a runner's files end; a runner that the configuration adds takes any.
fn ending(runner: &str) -> &'static str {
    match runner {
        "python" => "py",
        "javascript" => "js",
        "bash" => "sh",
        _ => "txt",
    }
}
