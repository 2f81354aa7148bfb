//! Grants.

use serde_json::{Map, Value, json};

use super::scopes::{methods, ports};
use super::{HANDLERS, KEYS, NAMES, ROOTS, breaking};
use crate::dice::Dice;
use crate::world::File;

pub const PATTERNS: [&str; 14] = [
    "*.md", "**/*.md", "a/*", "a/**", "**/b/**", "docs/*", "?.md", "*", "**", "a/**/b", "*/x.md",
    "docs", "k.*", "**/a",
];

const DOMAINS: [&str; 14] = [
    "example.com",
    "*.example.com",
    "*.b.example.com",
    "*.com",
    "evil.org",
    "*.org",
    "example.com:8443",
    "*.example.com:8443",
    "localhost",
    "metadata",
    "93.184.216.34",
    "10.0.0.7:80",
    "2606:4700::1111",
    "[2606:4700::1111]:8443",
];

const TCP: [&str; 6] = [
    "example.com:5432",
    "api.example.com:443",
    "api.example.com:53",
    "evil.org:5432",
    "10.0.0.7:5432",
    "[2606:4700::1111]:5432",
];

const COMMANDS: [&str; 13] = [
    "ls",
    "git",
    "git log",
    "git log *",
    "git log **",
    "git **",
    "grep -n ? *",
    "sh -c *",
    "busybox",
    "/opt/git status",
    "/usr/bin/git push o*n",
    "sudo",
    "nowhere",
];

/// The file of a component; nothing where it is missing.
pub fn file(dice: &mut Dice, component: &str) -> Option<File> {
    if dice.percent(5) {
        return None;
    }
    let mut permissions = Map::new();
    for permission in ["file_read", "file_write", "env_read", "terminal", "network"] {
        if dice.percent(90) {
            let mut given = match permission {
                "file_read" | "file_write" => files(dice, permission == "file_write"),
                "env_read" => env(dice),
                "terminal" => terminal(dice),
                _ => network(dice),
            };
            enable(dice, &mut given);
            permissions.insert(permission.to_owned(), Value::Object(given));
        }
    }
    for handler in HANDLERS {
        if dice.percent(70) {
            let mut given = custom(dice);
            enable(dice, &mut given);
            permissions.insert(handler.to_owned(), Value::Object(given));
        }
    }
    let grant = json!({"component_id": component, "permissions": permissions});
    if dice.percent(6) {
        return Some(breaking::grant(dice, grant));
    }
    Some(File::Sound(grant))
}

fn enable(dice: &mut Dice, given: &mut Map<String, Value>) {
    given.insert("enabled".to_owned(), json!(!dice.percent(6)));
    // Requests come in the two seconds after 22:13:20 UTC.
    let early = [
        "2020-02-29T23:59:59Z",
        "2023-11-14T22:13:20Z",
        "2023-11-15T00:13:20+02:00",
        "2023-11-14T22:13:20.500Z",
        "2023-11-14T18:13:21-04:00",
    ];
    let late = [
        "2023-11-14T22:13:21.5Z",
        "2023-11-14T22:13:22Z",
        "2023-11-15T03:43:22+05:30",
        "2023-11-14T13:13:22-09:00",
        "2096-02-29T00:00:00Z",
    ];
    if dice.percent(15) {
        given.insert("not_before".to_owned(), json!(dice.word(&early)));
    }
    if dice.percent(15) {
        given.insert("expires_at".to_owned(), json!(dice.word(&late)));
    } else if dice.percent(4) && !given.contains_key("not_before") {
        given.insert("expires_at".to_owned(), json!(dice.word(&early)));
    }
    if dice.percent(10) {
        // What is counted or asked is not decided here, and so changes nothing.
        given.insert("max_uses".to_owned(), json!(dice.between(1, 9)));
        given.insert("rate_per_minute".to_owned(), json!(dice.between(1, 9)));
        given.insert("ask".to_owned(), json!(dice.percent(50)));
        given.insert("always".to_owned(), json!(["ls"]));
    }
}

fn number(dice: &mut Dice, into: &mut Map<String, Value>, key: &str, most: u64) {
    if dice.percent(50) {
        into.insert(key.to_owned(), json!(dice.between(1, most)));
    }
}

fn files(dice: &mut Dice, write: bool) -> Map<String, Value> {
    let mut given = Map::new();
    given.insert("directories".to_owned(), json!(dice.words(&ROOTS, 0, 4)));
    if dice.percent(30) {
        let mut files: Vec<String> = Vec::new();
        for _ in 0..dice.below(4) {
            let file = dice.word(&ROOTS).trim_end_matches('/').to_owned() + "/" + dice.pick(&NAMES);
            if !files.contains(&file) {
                files.push(file);
            }
        }
        given.insert("files".to_owned(), json!(files));
    }
    if dice.percent(30) {
        given.insert("patterns".to_owned(), json!(dice.words(&PATTERNS, 0, 3)));
    }
    if dice.percent(25) {
        given.insert("exclude".to_owned(), json!(dice.words(&PATTERNS, 0, 2)));
    }
    number(dice, &mut given, "max_bytes", 40);
    if write {
        number(dice, &mut given, "quota_bytes", 60);
        number(dice, &mut given, "quota_files", 60);
    } else if dice.percent(20) {
        given.insert("passthrough".to_owned(), json!(dice.percent(70)));
    }
    given
}

fn env(dice: &mut Dice) -> Map<String, Value> {
    let mut given = Map::new();
    given.insert("allowed_keys".to_owned(), json!(dice.words(&KEYS, 0, 6)));
    number(dice, &mut given, "max_bytes", 40);
    given
}

fn terminal(dice: &mut Dice) -> Map<String, Value> {
    let mut given = Map::new();
    given.insert("directories".to_owned(), json!(dice.words(&ROOTS, 0, 4)));
    given.insert(
        "allowed_commands".to_owned(),
        json!(dice.words(&COMMANDS, 0, 7)),
    );
    if dice.percent(15) {
        given.insert("mode".to_owned(), json!(dice.word(&["host", "sandbox"])));
    }
    if dice.percent(15) {
        given.insert(
            "env".to_owned(),
            json!({"LANG": "C", "T": "x-${secret:TOKEN}"}),
        );
    }
    for key in ["timeout_ms", "max_output_bytes", "memory_mb"] {
        number(dice, &mut given, key, 120);
    }
    given
}

fn network(dice: &mut Dice) -> Map<String, Value> {
    let mut given = Map::new();
    let mut domains = dice.words(&DOMAINS, 0, 7);
    if dice.percent(15) {
        // What is injected or intercepted has to be granted as well.
        domains.retain(|domain| domain != "api.example.com" && domain != "*.example.com");
        domains.push("api.example.com".to_owned());
        let header = json!({"Authorization": "Bearer ${secret:TOKEN}", "X-A": "b"});
        let host = dice.word(&["api.example.com", "http://api.example.com"]);
        given.insert("inject".to_owned(), json!({host: header}));
    }
    if dice.percent(15) {
        domains.retain(|domain| domain != "example.com");
        domains.push("example.com".to_owned());
        given.insert("intercept".to_owned(), json!(["example.com"]));
    }
    given.insert("allowed_domains".to_owned(), json!(domains));
    if dice.percent(50) {
        given.insert("allowed_ports".to_owned(), json!(ports(dice, 0, 4)));
    }
    if dice.percent(30) {
        given.insert("methods".to_owned(), json!(methods(dice)));
    }
    if dice.percent(30) {
        let paths = ["/", "/v1/**", "/v1/*", "/a/b", "/**", "/v1/", "/*"];
        given.insert("paths".to_owned(), json!(dice.words(&paths, 0, 3)));
    }
    if dice.percent(50) {
        given.insert("tcp".to_owned(), json!(dice.words(&TCP, 0, 4)));
    }
    for key in ["timeout_ms", "max_response_bytes"] {
        number(dice, &mut given, key, 120);
    }
    given
}

fn custom(dice: &mut Dice) -> Map<String, Value> {
    let mut given = Map::new();
    if dice.percent(50) {
        let rows = dice.between(0, 30);
        let fraction = json!(rows as f64 + 0.5);
        let value = match dice.below(10) {
            0 => json!("many"),
            1 => fraction,
            2 => json!(-1),
            _ => json!(rows),
        };
        given.insert("max_rows".to_owned(), value);
    }
    if dice.percent(40) {
        let list = json!(dice.words(&["users", "notes", "logs"], 0, 2));
        let value = if dice.percent(10) {
            json!("users")
        } else {
            list
        };
        given.insert("forbidden_tables".to_owned(), value);
    }
    if dice.percent(30) {
        given.insert("databases".to_owned(), json!({"own": "/data/own.db"}));
    }
    if dice.percent(10) {
        given.insert("mode".to_owned(), json!("sandbox"));
    }
    given
}
