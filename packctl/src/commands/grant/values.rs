//! A grant file as rows: one a permission, its fields in the order of the file.

use serde::Serialize;
use serde_json::{Map, Value};

/// One permission of one component.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) component: String,
    pub(crate) permission: String,
    pub(crate) enabled: bool,
    /// All other fields of the permission, as they stand in the file.
    pub(crate) terms: Map<String, Value>,
    /// How often it was used, and when last, where the log was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_use: Option<String>,
}

/// The rows of a document that is known to be a valid grant.
pub(crate) fn rows(component: &str, bytes: &[u8]) -> Vec<Row> {
    let Ok(Value::Object(document)) = serde_json::from_slice(bytes) else {
        return Vec::new();
    };
    let Some(Value::Object(permissions)) = document.get("permissions") else {
        return Vec::new();
    };
    permissions
        .iter()
        .map(|(permission, terms)| {
            let mut terms = terms.as_object().cloned().unwrap_or_default();
            let enabled = terms.remove("enabled").and_then(|value| value.as_bool());
            Row {
                component: component.to_owned(),
                permission: permission.clone(),
                enabled: enabled.unwrap_or(false),
                terms,
                uses: None,
                last_use: None,
            }
        })
        .collect()
}

impl Row {
    /// The terms on one line, as `field=value,value field=value`.
    pub(crate) fn summary(&self) -> String {
        let fields: Vec<String> = self
            .terms
            .iter()
            .map(|(name, value)| match value {
                // Whatever the scope's defaults fill in is not worth a word here.
                Value::Array(values) => {
                    let values: Vec<String> = values.iter().map(plain).collect();
                    format!("{name}={}", values.join(","))
                }
                other => format!("{name}={}", plain(other)),
            })
            .collect();
        fields.join(" ")
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The directories a document names for files and terminals.
pub(crate) fn directories(bytes: &[u8]) -> Vec<String> {
    listed(bytes, "directories")
}

/// The files a document names by themselves.
pub(crate) fn files(bytes: &[u8]) -> Vec<String> {
    listed(bytes, "files")
}

fn listed(bytes: &[u8], list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let built_in = |row: &Row| row.permission.parse::<rumi_policy::Permission>().is_ok();
    for row in rows("", bytes).into_iter().filter(built_in) {
        if let Some(Value::Array(values)) = row.terms.get(list) {
            found.extend(
                values
                    .iter()
                    .filter_map(|value| value.as_str().map(str::to_owned)),
            );
        }
    }
    found
}
