//! The scope of a custom handler: what a grant may omit, and what no grant exceeds.
//!
//! The broker does not know what a handler's configuration means, so that limits come in the two
//! shapes that need no knowledge: a number, which is a ceiling, and a list whose key begins with
//! `forbidden`, to which a grant can only add.

use serde_json::{Map, Number, Value};

use super::read_head;
use crate::grant::custom::config;
use crate::ids::HandlerName;
use crate::json::{Fields, JsonError, Node};
use crate::problem::Problem;

const FORBIDDEN: &str = "forbidden";

/// A handler's scope, read.
#[derive(Debug)]
pub struct CustomScope {
    name: HandlerName,
    description: String,
    defaults: Map<String, Value>,
    limits: Map<String, Value>,
}

impl CustomScope {
    pub fn name(&self) -> &HandlerName {
        &self.name
    }

    pub fn description(&self) -> &str {
        &self.description
    }

    /// Reads the scope of the handler that the file is named for.
    pub fn parse(name: &HandlerName, bytes: &[u8]) -> Result<Self, Problem> {
        Self::read(name, bytes).map_err(|error| {
            let remedy = format!(
                "correct it as scopes/handler.schema.json says; until then `{name}` is denied to everybody"
            );
            Problem::new(&format!("scopes/{name}.json"), error, remedy)
        })
    }

    fn read(name: &HandlerName, bytes: &[u8]) -> Result<Self, JsonError> {
        let mut fields = Fields::open("", Node::parse(bytes)?)?;
        let description = read_head(&mut fields)?;
        let mut defaults = Fields::open("default_config", fields.require("default_config")?)?;
        let mut limits = Fields::open("limits", fields.require("limits")?)?;
        fields.finish()?;
        let scope = Self {
            name: name.clone(),
            description,
            defaults: config(&mut defaults)?,
            limits: config(&mut limits)?,
        };
        for key in ["enabled", "mode"] {
            if scope.defaults.contains_key(key) {
                return Err(defaults.error(key, "only a grant says this"));
            }
        }
        for (key, value) in &scope.limits {
            check_limit(key, value).map_err(|message| limits.error(key, message))?;
        }
        // A default beyond its own limit is lowered by it; one of another kind is a mistake.
        scope
            .effective(&Map::new())
            .map_err(|(key, message)| defaults.error(&key, message))?;
        Ok(scope)
    }

    /// What a handler is given for a grant: a key that the grant omits has its default, a number
    /// is at most its limit, and a forbidden list holds the limit's entries and the grant's.
    pub(crate) fn effective(
        &self,
        granted: &Map<String, Value>,
    ) -> Result<Map<String, Value>, (String, String)> {
        let mut effective = self.defaults.clone();
        effective.extend(granted.clone());
        for (key, limit) in &self.limits {
            let within = match effective.remove(key) {
                None => limit.clone(),
                Some(value) => within(value, limit).map_err(|message| (key.clone(), message))?,
            };
            effective.insert(key.clone(), within);
        }
        Ok(effective)
    }
}

fn check_limit(key: &str, value: &Value) -> Result<(), &'static str> {
    match (key.starts_with(FORBIDDEN), value) {
        (true, Value::Array(_)) | (false, Value::Number(_)) => Ok(()),
        (true, _) => Err("a key that begins with `forbidden` holds a list"),
        (false, _) => Err(
            "a limit is a number, which is a ceiling, or a list whose key begins with `forbidden`",
        ),
    }
}

fn within(value: Value, limit: &Value) -> Result<Value, String> {
    match (value, limit) {
        (Value::Number(value), Value::Number(limit)) => {
            Ok(Value::Number(smaller(value, limit.clone())))
        }
        (Value::Array(mut value), Value::Array(limit)) => {
            let missing = limit.iter().filter(|entry| !value.contains(entry));
            let missing: Vec<Value> = missing.cloned().collect();
            value.extend(missing);
            Ok(Value::Array(value))
        }
        (_, Value::Number(_)) => Err("the scope limits this, so it must be a number".to_owned()),
        (_, _) => Err("the scope forbids some of these, so it must be a list".to_owned()),
    }
}

/// Whole numbers are compared as what they are; a fraction makes both fractions.
fn smaller(one: Number, two: Number) -> Number {
    let less = match (whole(&one), whole(&two)) {
        (Some(one), Some(two)) => one <= two,
        _ => one.as_f64() <= two.as_f64(),
    };
    if less { one } else { two }
}

fn whole(number: &Number) -> Option<i128> {
    let signed = number.as_i64().map(i128::from);
    signed.or_else(|| number.as_u64().map(i128::from))
}
