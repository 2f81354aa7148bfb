//! Files that are not valid: half-written, misspelled, or meant for somebody else.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::world::File;

/// Texts of no use to anybody.
const NOISE: [&str; 8] = [
    "",
    " ",
    "{}",
    "[]",
    "null",
    "not json",
    "{\"component_id\": 1",
    "\u{feff}{}",
];

pub fn grant(dice: &mut Dice, mut grant: Value) -> File {
    let component = grant["component_id"].clone();
    let shown = grant.to_string();
    let text = match dice.below(9) {
        0 => dice.word(&NOISE),
        1 => cut(dice, &shown),
        2 => shown.replacen('{', &format!("{{\"component_id\": {component},"), 1),
        3 => format!("{shown},"),
        4 => {
            grant["component_id"] = json!("default:tool:other");
            grant.to_string()
        }
        5 => {
            grant["allow_all"] = json!(true);
            grant.to_string()
        }
        6 => {
            grant["permissions"]["file_read"] = json!({"directories": ["/"]});
            grant.to_string()
        }
        7 => {
            let wrong = dice.pick(&[
                json!({"enabled": true, "directories": ["/"], "max_bytes": 0}),
                json!({"enabled": true, "directories": ["/"], "max_bytes": "1"}),
                json!({"enabled": true, "directories": ["/", "/"]}),
                json!({"enabled": true, "directories": ["srv"]}),
                json!({"enabled": true, "directories": [], "files": ["/"]}),
                json!({"enabled": true, "directories": [], "files": ["srv/a"]}),
                json!({"enabled": true, "directories": ["/srv/../etc"]}),
                json!({"enabled": true, "directories": ["/"], "patterns": ["../*"]}),
                json!({"enabled": true, "directories": ["/"], "patterns": "*"}),
                json!({"enabled": true, "directories": ["/"], "everything": true}),
                json!({"enabled": "yes", "directories": ["/"]}),
                json!({"enabled": true}),
                json!(null),
            ]);
            grant["permissions"]["file_read"] = wrong;
            grant.to_string()
        }
        _ => {
            let wrong = dice.pick(&[
                json!({"enabled": true, "allowed_domains": ["*"]}),
                json!({"enabled": true, "allowed_domains": ["ex*.com"]}),
                json!({"enabled": true, "allowed_domains": ["EXAMPLE.com"]}),
                json!({"enabled": true, "allowed_domains": ["127.1"]}),
                json!({"enabled": true, "allowed_domains": [], "allowed_ports": [0]}),
                json!({"enabled": true, "allowed_domains": [], "tcp": ["*.example.com:1"]}),
                json!({"enabled": true, "allowed_domains": [], "intercept": ["example.com"]}),
                json!({"enabled": true, "allowed_domains": [], "methods": ["get"]}),
            ]);
            grant["permissions"]["network"] = wrong;
            grant.to_string()
        }
    };
    File::Broken(text)
}

pub fn scope(dice: &mut Dice, mut scope: Value) -> File {
    let shown = scope.to_string();
    let text = match dice.below(6) {
        0 => dice.word(&NOISE),
        1 => cut(dice, &shown),
        2 => shown.replacen('{', "{\"version\": \"1.0\",", 1),
        3 => {
            scope["allow_all"] = json!(true);
            scope.to_string()
        }
        4 => {
            let key = dice.word(&["version", "description", "default_config", "limits"]);
            scope.as_object_mut().unwrap().remove(&key);
            scope.to_string()
        }
        _ => {
            scope["limits"] = json!({"forbidden": [17], "no such limit": "x"});
            scope.to_string()
        }
    };
    File::Broken(text)
}

/// As a file is while somebody writes it.
fn cut(dice: &mut Dice, text: &str) -> String {
    let mut end = dice.below(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
