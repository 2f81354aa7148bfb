//! Reading keys.

use super::{Given, Opinion, first};
use crate::request::{Found, Terms};

const MAX_BYTES: u64 = 64 << 10;

pub fn ask(given: &Given, key: &str) -> Opinion {
    let granted = given.granted("allowed_keys");
    let mut forbidden = Vec::new();
    let mut objections = Vec::new();
    let mut keys: Vec<String> = granted
        .iter()
        .filter(|key| !is_forbidden(given, key))
        .cloned()
        .collect();
    if !key.is_empty() {
        if is_forbidden(given, key) {
            forbidden.push("forbidden_by_scope");
        }
        keys.retain(|granted| granted == key);
    }
    if keys.is_empty() {
        objections.push("key_not_allowed");
    }
    keys.sort();
    let terms = Terms::from([
        ("keys", keys.join(" ")),
        (
            "max_bytes",
            given.number("max_bytes", MAX_BYTES).to_string(),
        ),
    ]);
    first(vec![forbidden, objections], terms)
}

pub fn confirm(given: &Given, found: &Found) -> Opinion {
    let objections = given.too_many(found.values, "max_bytes", MAX_BYTES);
    first(vec![objections], Terms::new())
}

/// A key, or the beginning of some, such as `RUMI_*`.
fn is_forbidden(given: &Given, key: &str) -> bool {
    let entries = given.limit_texts("forbidden");
    entries.iter().any(|entry| {
        if entry.ends_with('*') {
            key.starts_with(&entry[..entry.len() - 1])
        } else {
            key == entry
        }
    })
}
