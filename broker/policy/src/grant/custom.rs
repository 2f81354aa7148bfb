//! What a grant says of a custom handler: whether it may be called, and the configuration that
//! only the handler understands.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Wish, enabled};
use crate::conditions::Conditions;
use crate::handler::Mode;
use crate::json::{Fields, JsonError};

/// Longest configuration, as JSON text. It travels with every call.
const MAX_CONFIG_BYTES: usize = 64 << 10;
/// Deepest configuration.
const MAX_CONFIG_DEPTH: usize = 16;

/// The grant of one handler.
#[derive(Clone, Debug, Serialize)]
pub struct CustomGrant {
    pub enabled: bool,
    /// Where the handler runs; there is one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(flatten)]
    pub conditions: Conditions,
    #[serde(flatten)]
    pub config: Map<String, Value>,
}

impl CustomGrant {
    pub(super) fn read(mut fields: Fields, wish: Wish) -> Result<Self, JsonError> {
        let enabled = enabled(&mut fields, wish)?;
        let mode = match fields.take("mode") {
            None => None,
            Some(node) => {
                let text = fields.text("mode", node)?;
                let mode = text.parse::<Mode>();
                Some(mode.map_err(|error| fields.error("mode", error.to_string()))?)
            }
        };
        Ok(Self {
            enabled,
            mode,
            conditions: Conditions::read(&mut fields, wish)?,
            config: config(&mut fields)?,
        })
    }
}

/// All that is left of an object, as what a handler is given; bounded, because nothing else is
/// known of it. Conditions are taken out before, or have no place there.
pub(crate) fn config(fields: &mut Fields) -> Result<Map<String, Value>, JsonError> {
    let mut config = Map::new();
    for (key, node) in fields.drain() {
        if Conditions::KEYS.contains(&key.as_str()) {
            return Err(fields.error(&key, "only a grant says this"));
        }
        let value = node.into_value();
        if depth(&value) >= MAX_CONFIG_DEPTH {
            let message = format!("this is nested deeper than {MAX_CONFIG_DEPTH} levels");
            return Err(fields.error(&key, message));
        }
        config.insert(key, value);
    }
    let bytes = serde_json::to_vec(&config).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > MAX_CONFIG_BYTES {
        return Err(JsonError::field(
            fields.place(),
            format!("the configuration has {bytes} bytes; {MAX_CONFIG_BYTES} are allowed"),
        ));
    }
    Ok(config)
}

/// Levels of lists and objects. The reader of JSON has bounded them already, so that going
/// down into them is safe.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
