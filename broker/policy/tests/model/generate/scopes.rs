//! Scopes.

use serde_json::{Map, Value, json};

use super::breaking;
use crate::dice::Dice;
use crate::world::File;

pub const FORBIDDEN_PATHS: [&str; 10] = [
    "/srv/a/b",
    "/data/docs/x.md",
    "/home/*/.config/gh",
    "/home/u/a",
    "/proc",
    "**/.ssh",
    "**/id_*",
    "**/*.key",
    "**/.config/gcloud",
    "**/a/b/docs",
];

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE",
];

/// The file of one of the five; nothing where it is missing.
pub fn file(dice: &mut Dice, permission: &str) -> Option<File> {
    if dice.percent(3) {
        return None;
    }
    let (defaults, limits) = match permission {
        "file_read" | "file_write" => files(dice, permission == "file_write"),
        "env_read" => env(dice),
        "terminal" => terminal(dice),
        _ => network(dice),
    };
    Some(finish(dice, defaults, limits))
}

/// The file of a handler, most of which have none.
pub fn custom_file(dice: &mut Dice) -> Option<File> {
    if dice.percent(55) {
        return None;
    }
    let mut defaults = Map::new();
    let mut limits = Map::new();
    number(dice, &mut defaults, "max_rows", 60, 20);
    number(dice, &mut limits, "max_rows", 70, 20);
    if dice.percent(50) {
        defaults.insert("databases".to_owned(), json!({"shop": "/srv/shop.db"}));
    }
    if dice.percent(40) {
        defaults.insert("name".to_owned(), json!("default"));
    }
    if dice.percent(60) {
        let list = dice.words(&["users", "keys", "logs"], 0, 2);
        limits.insert("forbidden_tables".to_owned(), json!(list));
    }
    Some(finish(dice, defaults, limits))
}

fn finish(dice: &mut Dice, defaults: Map<String, Value>, limits: Map<String, Value>) -> File {
    let mut scope = json!({
        "version": "1.0", "description": "", "default_config": defaults, "limits": limits,
    });
    if dice.percent(4) {
        return breaking::scope(dice, scope);
    }
    if dice.percent(2) {
        // A version that is not known: a file like any other, and nobody may rely on it.
        scope["version"] = json!(dice.word(&["2.0", "1.1", "1", "", "1.0 "]));
    }
    File::Sound(scope)
}

fn number(dice: &mut Dice, into: &mut Map<String, Value>, key: &str, chance: usize, most: u64) {
    if dice.percent(chance) {
        into.insert(key.to_owned(), json!(dice.between(1, most)));
    }
}

fn files(dice: &mut Dice, write: bool) -> (Map<String, Value>, Map<String, Value>) {
    let mut defaults = Map::new();
    let mut limits = Map::new();
    number(dice, &mut defaults, "max_bytes", 80, 30);
    number(dice, &mut limits, "max_bytes", 80, 30);
    if write {
        for key in ["quota_bytes", "quota_files"] {
            number(dice, &mut defaults, key, 70, 60);
            number(dice, &mut limits, key, 70, 60);
        }
    }
    if dice.percent(20) {
        let list = dice.words(&super::grants::PATTERNS, 0, 2);
        defaults.insert("exclude".to_owned(), json!(list));
    }
    if dice.percent(85) {
        let list = dice.words(&FORBIDDEN_PATHS, 0, 4);
        limits.insert("forbidden".to_owned(), json!(list));
    }
    (defaults, limits)
}

fn env(dice: &mut Dice) -> (Map<String, Value>, Map<String, Value>) {
    let mut defaults = Map::new();
    let mut limits = Map::new();
    number(dice, &mut defaults, "max_bytes", 80, 30);
    number(dice, &mut limits, "max_bytes", 70, 30);
    if dice.percent(80) {
        let list = dice.words(&["RUMI_*", "LD_PRELOAD", "TOKEN", "O*", "_*"], 0, 3);
        limits.insert("forbidden".to_owned(), json!(list));
    }
    (defaults, limits)
}

fn terminal(dice: &mut Dice) -> (Map<String, Value>, Map<String, Value>) {
    let mut defaults = Map::new();
    let mut limits = Map::new();
    for key in ["timeout_ms", "max_output_bytes", "memory_mb"] {
        number(dice, &mut defaults, key, 60, 100);
        number(dice, &mut limits, key, 60, 100);
    }
    if dice.percent(50) {
        limits.insert("allow_host_mode".to_owned(), json!(dice.percent(60)));
    }
    if dice.percent(70) {
        let list = dice.words(&FORBIDDEN_PATHS, 0, 3);
        limits.insert("forbidden".to_owned(), json!(list));
    }
    if dice.percent(70) {
        let list = dice.words(&["sudo", "/bin/sh", "busybox", "/opt/git", "git"], 0, 2);
        limits.insert("forbidden_commands".to_owned(), json!(list));
    }
    (defaults, limits)
}

fn network(dice: &mut Dice) -> (Map<String, Value>, Map<String, Value>) {
    let mut defaults = Map::new();
    let mut limits = Map::new();
    for key in ["timeout_ms", "max_response_bytes"] {
        number(dice, &mut defaults, key, 60, 100);
        number(dice, &mut limits, key, 60, 100);
    }
    if dice.percent(50) {
        defaults.insert("allowed_ports".to_owned(), json!(ports(dice, 0, 2)));
    }
    if dice.percent(40) {
        let list = match dice.percent(60) {
            true => METHODS[..7]
                .iter()
                .map(|&method| method.to_owned())
                .collect(),
            false => dice.words(&METHODS, 0, 5),
        };
        defaults.insert("methods".to_owned(), json!(list));
    }
    if dice.percent(80) {
        let list = dice.words(
            &[
                "localhost",
                "*.localhost",
                "metadata",
                "*.evil.org",
                "evil.org",
                "10.0.0.7",
                "*.com",
            ],
            0,
            3,
        );
        limits.insert("forbidden".to_owned(), json!(list));
    }
    for key in ["forbidden_ports", "forbidden_tcp_ports"] {
        if dice.percent(50) {
            limits.insert(key.to_owned(), json!(ports(dice, 0, 2)));
        }
    }
    (defaults, limits)
}

/// Different ports of the few that requests go to.
pub fn ports(dice: &mut Dice, low: usize, high: usize) -> Vec<u64> {
    let words = dice.words(&["443", "80", "8443", "5432", "53"], low, high);
    words.iter().map(|port| port.parse().unwrap()).collect()
}

pub fn methods(dice: &mut Dice) -> Vec<String> {
    dice.words(&METHODS, 0, 6)
}
