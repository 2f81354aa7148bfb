//! Calls of custom handlers.

use serde_json::{Map, Value};

use super::{Given, Opinion, first};
use crate::request::{Found, Terms};

pub fn ask(given: &Given, bytes: u64, depth: u32) -> Opinion {
    let mut objections = Vec::new();
    let config = configuration(given);
    if config.is_none() {
        objections.push("scope_limit");
    }
    if bytes > 1 << 20 {
        objections.push("too_large");
    }
    if depth >= 4 {
        objections.push("quota");
    }
    let config = Value::Object(config.unwrap_or_default());
    first(
        vec![objections],
        Terms::from([("config", config.to_string())]),
    )
}

/// What the handler is given; nothing where the grant's value is of another kind than its limit.
fn configuration(given: &Given) -> Option<Map<String, Value>> {
    let mut config = given.grant.as_object().unwrap().clone();
    for key in super::NOT_CONFIGURATION {
        config.remove(key);
    }
    for (key, default) in given.scope["default_config"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if !config.contains_key(key) {
            config.insert(key.clone(), default.clone());
        }
    }
    for (key, limit) in given.scope["limits"].as_object().into_iter().flatten() {
        let Some(value) = config.get_mut(key) else {
            config.insert(key.clone(), limit.clone());
            continue;
        };
        if key.starts_with("forbidden") {
            for entry in limit.as_array().unwrap() {
                if !value.as_array()?.contains(entry) {
                    value.as_array_mut()?.push(entry.clone());
                }
            }
            value.as_array()?;
        } else if value.as_f64()? > limit.as_f64().unwrap() {
            *value = limit.clone();
        }
    }
    Some(config)
}

pub fn confirm(given: &Given, found: &Found) -> Opinion {
    let mut objections = Vec::new();
    match found.handler {
        "missing" | "refused" => objections.push("unknown_component"),
        "ready, needs a scope" if given.scope.is_null() => objections.push("scope_invalid"),
        _ => {}
    }
    if !found.arguments_fit {
        objections.push("bad_request");
    }
    first(vec![objections], Terms::new())
}
