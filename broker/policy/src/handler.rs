//! What a custom handler says of itself, judged strictly: a word that is not understood might
//! be the one that was to restrict it.

use serde::Serialize;
use serde_json::Value;

use crate::json::{Fields, JsonError, Node};
use crate::spelling::SpellingError;

/// Largest META, as JSON text.
pub const MAX_META_BYTES: usize = 64 << 10;

/// Where a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In a container of its own.
    Sandbox,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            _ => Err(SpellingError::new(
                "a mode",
                text,
                "handlers run in `sandbox` and nowhere else",
            )),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The `META` of a handler's file.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerMeta {
    /// Without `scopes/<name>.json` nobody may call it.
    pub requires_scope: bool,
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Option<Value>,
}

/// Why a META is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .field.as_ref().map(|field| format!("`{field}`: ")).unwrap_or_default())]
pub struct MetaError {
    field: Option<String>,
    message: String,
}

impl From<JsonError> for MetaError {
    fn from(error: JsonError) -> Self {
        Self {
            field: error.field,
            message: error.message,
        }
    }
}

impl HandlerMeta {
    /// Reads what the handler's container answered.
    pub fn parse(json: &str) -> Result<Self, MetaError> {
        if json.len() > MAX_META_BYTES {
            let message = format!("it is larger than {MAX_META_BYTES} bytes of JSON");
            return Err(JsonError::field("META", message).into());
        }
        Ok(Self::read(json)?)
    }

    fn read(json: &str) -> Result<Self, JsonError> {
        let mut fields = Fields::open("META", Node::parse(json.as_bytes())?)?;
        let node = fields.require("requires_scope")?;
        let requires_scope = fields.bool("requires_scope", node)?;
        let modes: Vec<Mode> = fields
            .list("supports_modes")?
            .ok_or_else(|| fields.error("supports_modes", "this field is missing"))?;
        if modes.is_empty() {
            return Err(fields.error("supports_modes", "the list is empty; write `[\"sandbox\"]`"));
        }
        let description = fields.required_text("description")?;
        if description.is_empty() || description.chars().count() > 500 {
            return Err(fields.error("description", "it must have 1 to 500 characters"));
        }
        if description.chars().any(char::is_control) {
            return Err(fields.error("description", "it must be one line of plain text"));
        }
        let schema = match fields.take("schema") {
            None => None,
            Some(node @ (Node::Object(_) | Node::Bool(_))) => Some(node.into_value()),
            Some(other) => {
                let message = format!("a JSON Schema is an object, not {}", other.kind());
                return Err(fields.error("schema", message));
            }
        };
        fields.finish()?;
        Ok(Self {
            requires_scope,
            description,
            schema,
        })
    }
}
