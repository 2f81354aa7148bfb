//! `pack.json`: what a pack says of itself.

mod component;

use crate::grant::{Permissions, Wish};
use crate::ids::{ComponentId, PackId};
use crate::json::{Fields, JsonError, Node};
use crate::path::RelPath;
use crate::set::MAX_FILE_BYTES;
use crate::spelling::excerpt;

pub use component::{ComponentManifest, Runner, RunnerName};

/// A pack's manifest. Everything in it was written by somebody nobody vouches for.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub id: PackId,
    pub version: String,
    pub description: String,
    /// What its image begins from.
    pub base: Base,
    pub requirements: Requirements,
    pub limits: PackLimits,
    pub components: Vec<ComponentManifest>,
    /// What the pack would like to be granted. Asking grants nothing.
    pub requests: Vec<(ComponentId, Permissions)>,
}

/// The images that packs stand on, each with more in it than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// Python and the core utilities.
    #[default]
    Base,
    /// With curl and git.
    Tools,
    /// With Node.js as well.
    Node,
}

impl Base {
    /// Name of the image.
    pub fn image(self) -> &'static str {
        match self {
            Self::Base => "rumi-base:latest",
            Self::Tools => "rumi-tools:latest",
            Self::Node => "rumi-node:latest",
        }
    }
}

impl std::str::FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "base" => Ok(Self::Base),
            "tools" => Ok(Self::Tools),
            "node" => Ok(Self::Node),
            other => Err(format!(
                "the base `{}` is not known; use `base`, `tools` or `node`",
                excerpt(other)
            )),
        }
    }
}

/// What a pack's virtual environment is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirements {
    None,
    /// A requirements file of the pack.
    File(RelPath),
    /// Requirements such as `requests==2.32.3`: names and versions, no options and no URLs.
    Lines(Vec<String>),
}

/// What the pack asks for where the defaults do not suit it; the configuration has the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackLimits {
    pub memory_mb: Option<u32>,
    pub cpu_millis: Option<u32>,
    pub pids: Option<u32>,
    pub tmp_mb: Option<u32>,
    pub workspace_mb: Option<u32>,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`pack.json`{}{}: {message}", self.at_line(), self.at_field())]
pub struct ManifestError {
    pub line: Option<usize>,
    pub field: Option<String>,
    pub message: String,
}

impl ManifestError {
    fn at_line(&self) -> String {
        self.line
            .map(|line| format!(", line {line}"))
            .unwrap_or_default()
    }

    fn at_field(&self) -> String {
        self.field
            .as_ref()
            .map(|field| format!(", field `{field}`"))
            .unwrap_or_default()
    }
}

impl From<JsonError> for ManifestError {
    fn from(error: JsonError) -> Self {
        Self {
            line: error.line,
            field: error.field,
            message: error.message,
        }
    }
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_FILE_BYTES {
            let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
            return Err(JsonError::whole(message).into());
        }
        Ok(Self::read(Node::parse(bytes)?)?)
    }

    fn read(node: Node) -> Result<Self, JsonError> {
        let mut fields = Fields::open("", node)?;
        if let Some(node) = fields.take("$schema") {
            fields.text("$schema", node)?;
        }
        let id: PackId = fields.parsed("id")?;
        let version = line(&mut fields, "version", 64)?;
        let description = line(&mut fields, "description", 1000)?;
        let base = fields.parsed_if_present("base")?;
        let requirements = read_requirements(&mut fields)?;
        let limits = read_limits(&mut fields)?;
        let components = read_components(&mut fields, &id)?;
        let requests = read_requests(&mut fields, &components)?;
        fields.finish()?;
        Ok(Self {
            id,
            version,
            description,
            base: base.unwrap_or_else(|| usual_base(&components)),
            requirements,
            limits,
            components,
            requests,
        })
    }
}

/// What the components need, where the pack does not say it.
fn usual_base(components: &[ComponentManifest]) -> Base {
    let needs_node = |component: &ComponentManifest| component.runner == Runner::JavaScript;
    if components.iter().any(needs_node) {
        Base::Node
    } else {
        Base::Base
    }
}

/// One line of text for people, which will be shown on terminals.
fn line(fields: &mut Fields, key: &'static str, longest: usize) -> Result<String, JsonError> {
    let text = fields.required_text(key)?;
    if text.chars().count() > longest {
        return Err(fields.error(key, format!("this is longer than {longest} characters")));
    }
    if text.trim().is_empty() {
        return Err(fields.error(key, "this is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(fields.error(key, "this must be one line without control characters"));
    }
    Ok(text)
}

fn read_requirements(fields: &mut Fields) -> Result<Requirements, JsonError> {
    const KEY: &str = "requirements";
    match fields.take(KEY) {
        None => Ok(Requirements::None),
        Some(Node::Text(text)) => {
            let path = text.parse::<RelPath>();
            path.map(Requirements::File)
                .map_err(|error| fields.error(KEY, error.to_string()))
        }
        Some(list @ Node::List(_)) => {
            let mut inner = Fields::open("", Node::Object(vec![(KEY.to_owned(), list)]))?;
            let lines = inner.list_with(KEY, |node| match node {
                Node::Text(text) => check_requirement(&text).map(|()| text),
                other => Err(format!("this must be a string, not {}", other.kind())),
            })?;
            Ok(Requirements::Lines(lines.unwrap_or_default()))
        }
        Some(other) => {
            let message = format!(
                "this must be a file's name or a list of strings, not {}",
                other.kind()
            );
            Err(fields.error(KEY, message))
        }
    }
}

/// A requirement becomes a line of a file that an installer reads as root of a build, so it may
/// hold a name, extras, versions and a marker, and nothing that is an option, a path or a URL.
fn check_requirement(text: &str) -> Result<(), String> {
    let shown = excerpt(text);
    let refuse = |why: &str| Err(format!("the requirement `{shown}` {why}"));
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("must begin with the name of a package");
    }
    if text.len() > 200 {
        return refuse("is longer than 200 bytes");
    }
    if text.contains(['@', '/', '\\', '#', '$']) || text.contains(" -") {
        return refuse("must not hold an option, a path, a URL, a variable or a comment");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return refuse("contains a character that no requirement has");
    }
    Ok(())
}

fn read_limits(fields: &mut Fields) -> Result<PackLimits, JsonError> {
    let Some(node) = fields.take("limits") else {
        return Ok(PackLimits::default());
    };
    let mut inner = Fields::open("limits", node)?;
    let limits = PackLimits {
        memory_mb: inner.small_number("memory_mb", 1 << 20)?,
        cpu_millis: read_cpus(&mut inner)?,
        pids: inner.small_number("pids", 1 << 16)?,
        tmp_mb: inner.small_number("tmp_mb", 1 << 20)?,
        workspace_mb: inner.small_number("workspace_mb", 1 << 20)?,
    };
    inner.finish()?;
    Ok(limits)
}

fn read_cpus(fields: &mut Fields) -> Result<Option<u32>, JsonError> {
    const MOST: f64 = 1024.0;
    let Some(node) = fields.take("cpus") else {
        return Ok(None);
    };
    let cpus = match &node {
        Node::Number(number) => number.as_f64(),
        _ => None,
    };
    match cpus.filter(|cpus| (0.01..=MOST).contains(cpus)) {
        Some(cpus) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the number is between 10 and 1,024,000"
            )]
            let millis = (cpus * 1000.0).round() as u32;
            Ok(Some(millis))
        }
        None => Err(fields.error("cpus", format!("this must be a number from 0.01 to {MOST}"))),
    }
}

fn read_components(
    fields: &mut Fields,
    pack: &PackId,
) -> Result<Vec<ComponentManifest>, JsonError> {
    const MOST: usize = 64;
    let items = match fields.require("components")? {
        Node::List(items) if !items.is_empty() && items.len() <= MOST => items,
        _ => {
            let message = format!("this must be a list of 1 to {MOST} components");
            return Err(fields.error("components", message));
        }
    };
    let mut components: Vec<ComponentManifest> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut inner = Fields::open(format!("components[{index}]"), item)?;
        let component = component::read(&mut inner)?;
        if component.id.pack_str() != pack.as_str() {
            let message = format!(
                "`{}` does not begin with the pack's id `{pack}`",
                component.id
            );
            return Err(inner.error("id", message));
        }
        if components.iter().any(|other| other.id == component.id) {
            return Err(inner.error("id", format!("`{}` stands here twice", component.id)));
        }
        inner.finish()?;
        components.push(component);
    }
    Ok(components)
}

fn read_requests(
    fields: &mut Fields,
    components: &[ComponentManifest],
) -> Result<Vec<(ComponentId, Permissions)>, JsonError> {
    let Some(node) = fields.take("requests") else {
        return Ok(Vec::new());
    };
    let mut inner = Fields::open("requests", node)?;
    let mut requests = Vec::new();
    for (key, node) in inner.drain() {
        let id = key.parse::<ComponentId>().ok();
        let Some(id) = id.filter(|id| components.iter().any(|component| component.id == *id))
        else {
            return Err(inner.error(&key, "the pack has no such component"));
        };
        let permissions = Permissions::read(&inner.name(&key), node, Wish::Wished)?;
        requests.push((id, permissions));
    }
    Ok(requests)
}
