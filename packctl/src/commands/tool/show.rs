//! `packctl tool show NAME`

use rumi_policy::manifest::Requirements;
use serde::Serialize;
use serde_json::Value;

use super::{
    name::ToolName,
    place::{self, Added, Place},
    state::States,
};
use crate::{context::Context, failure::Failure, policy_files};

/// Show a tool that was added, with its code
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Name of the tool
    name: ToolName,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    component: String,
    description: String,
    runner: String,
    requirements: Vec<String>,
    timeout_ms: Option<u64>,
    memory_mb: Option<u32>,
    schema: Option<Value>,
    state: String,
    calls: Option<u64>,
    /// Names of the permissions that its grant names.
    grants: Vec<String>,
    code: String,
}

impl Show {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let added = Place::new(context, &self.name)?.read()?;
        let grants = grants(context, &self.name)?;
        let states = States::ask(context)?;
        let row = Row::of(added, grants, &states);
        context.out.one(&row, Row::lines)
    }
}

impl Row {
    fn of(added: Added, grants: Vec<String>, states: &States) -> Self {
        Self {
            name: added.name.to_string(),
            component: added.name.component().to_string(),
            runner: added.tool.runner.as_str().to_owned(),
            requirements: match added.manifest.requirements {
                Requirements::Lines(lines) => lines,
                Requirements::None | Requirements::File(_) => Vec::new(),
            },
            timeout_ms: added.tool.timeout_ms,
            memory_mb: added.tool.memory_mb,
            state: states.of(&added.name),
            calls: states.calls(&added.name),
            code: place::text(&added.code),
            description: added.tool.description,
            schema: added.tool.schema,
            grants,
        }
    }

    fn lines(&self) -> Vec<String> {
        let or_none = |list: &[String]| match list {
            [] => "none".to_owned(),
            list => list.join(", "),
        };
        let or_default = |number: Option<u64>, unit: &str| {
            number.map_or("as configured".to_owned(), |number| {
                format!("{number} {unit}")
            })
        };
        let state = match (self.state.as_str(), self.calls) {
            ("", _) => "not known".to_owned(),
            (state, None) => state.to_owned(),
            (state, Some(1)) => format!("{state}, 1 call"),
            (state, Some(calls)) => format!("{state}, {calls} calls"),
        };
        let schema = self
            .schema
            .as_ref()
            .map_or("none".to_owned(), Value::to_string);
        let mut lines: Vec<String> = [
            ("component", self.component.clone()),
            ("description", self.description.clone()),
            ("runner", self.runner.clone()),
            ("requirements", or_none(&self.requirements)),
            ("time", or_default(self.timeout_ms, "ms")),
            ("memory", or_default(self.memory_mb.map(u64::from), "MiB")),
            ("schema", schema),
            ("grants", or_none(&self.grants)),
            ("state", state),
        ]
        .map(|(label, text)| format!("{label:<13} {text}"))
        .to_vec();
        lines.push(String::new());
        lines.extend(self.code.lines().map(str::to_owned));
        lines
    }
}

/// What its grant names; one that is not valid is for `packctl grant lint`.
pub(super) fn grants(context: &Context, name: &ToolName) -> Result<Vec<String>, Failure> {
    let path = policy_files::grant_path(context, name.component())?;
    let bytes = policy_files::read_existing(&path)?.unwrap_or_default();
    let grant: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let permissions = grant.get("permissions").and_then(Value::as_object);
    Ok(permissions
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect())
}
