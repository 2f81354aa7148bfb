//! The files that are shipped: scopes, schemas, and the example in the grants' README.

use rumi_policy::manifest::Manifest;
use rumi_policy::{Grant, Permission, PolicySet};
use serde_json::Value;

use crate::world::source;

fn root(file: &str) -> String {
    format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))
}

fn json(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root(file)).unwrap()).unwrap()
}

fn schema(file: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&json(file)).unwrap()
}

#[test]
fn scopes_are_valid_and_careful() {
    let set = PolicySet::compile(source("{}"));
    assert!(set.problems().is_empty(), "{:?}", set.problems());
    let schema = schema("scopes/scope.schema.json");
    for permission in Permission::ALL {
        let scope = set.scope(permission).unwrap();
        assert!(!scope.description().is_empty() && scope.version() == "1.0");
        let text = json(&format!("scopes/{permission}.json"));
        assert!(schema.is_valid(&text), "{permission}");
        let forbidden = text["limits"]["forbidden"].as_array().unwrap();
        if matches!(
            permission,
            Permission::FileRead | Permission::FileWrite | Permission::Terminal
        ) {
            assert!(forbidden.len() >= 30, "{permission}: {}", forbidden.len());
        }
    }
}

#[test]
fn no_grant_is_shipped() {
    for entry in std::fs::read_dir(root("grants")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            ["README.md", "grant.schema.json"].contains(&name.as_str()),
            "{name}"
        );
    }
}

#[test]
fn the_readmes_example_is_a_grant() {
    let readme = std::fs::read_to_string(root("grants/README.md")).unwrap();
    let example = readme
        .split("```json")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    Grant::parse("default:tool:my_tool.json", example.as_bytes()).unwrap();
    assert!(schema("grants/grant.schema.json").is_valid(&serde_json::from_str(example).unwrap()));
}

/// The schemas are for editors; they may be laxer than the parser, and never stricter.
#[test]
fn schemas_accept_what_the_parser_accepts() {
    let grants = schema("grants/grant.schema.json");
    let name = "a:tool:b.json";
    let grant = |permissions: &str| {
        format!(r#"{{"component_id": "a:tool:b", "permissions": {permissions}}}"#)
    };
    let cases = [
        ("{}", true),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": ["A"]}}"#,
            true,
        ),
        (
            r#"{"file_write": {"enabled": false, "directories": ["/"], "patterns": ["**/*"], "exclude": ["a"], "max_bytes": 1}}"#,
            true,
        ),
        (
            r#"{"terminal": {"enabled": true, "directories": ["/a"], "allowed_commands": ["ls", "/bin/x"], "memory_mb": 5}}"#,
            true,
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": ["*.a.b", "[::1]:80"], "allowed_ports": [1], "methods": ["GET"]}}"#,
            true,
        ),
        (
            r#"{"clock": {"enabled": true}, "sqlite_query": {"enabled": false, "mode": "sandbox", "a": {"b": [1]}}}"#,
            true,
        ),
        (
            r#"{"clock": {"enabled": true, "not_before": "2030-01-31T12:00:00Z", "max_uses": 1, "zone": "UTC"},
                "env_read": {"enabled": true, "allowed_keys": [], "expires_at": "2030-01-31T12:00:00+01:00", "max_uses": 3,
                "rate_per_minute": 60, "ask": true, "always": ["KEY"]}}"#,
            true,
        ),
        (r#"{"clock": {"enabled": true, "max_uses": 0}}"#, false),
        (
            r#"{"file_read": {"enabled": true, "directories": [], "rate_per_minute": 1000001}}"#,
            false,
        ),
        (
            r#"{"terminal": {"enabled": true, "directories": [], "allowed_commands": [], "ask": 1}}"#,
            false,
        ),
        (r#"{"clock": {"zone": "UTC"}}"#, false),
        (r#"{"Clock": {"enabled": true}}"#, false),
        (r#"{"../clock": {"enabled": true}}"#, false),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "tcp": ["db.a:5432", "[::1]:80"], "paths": ["/", "/v1/**"]}}"#,
            true,
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "tcp": ["*.a:5432"]}}"#,
            false,
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "paths": ["v1"]}}"#,
            false,
        ),
        (r#"{"network": {"enabled": true, "domains": []}}"#, false),
        (r#"{"env_read": {"allowed_keys": []}}"#, false),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": ["A", "A"]}}"#,
            false,
        ),
        (
            r#"{"file_read": {"enabled": true, "directories": ["a"]}}"#,
            false,
        ),
    ];
    for (permissions, valid) in cases {
        let text = grant(permissions);
        assert_eq!(Grant::parse(name, text.as_bytes()).is_ok(), valid, "{text}");
        assert_eq!(
            grants.is_valid(&serde_json::from_str(&text).unwrap()),
            valid,
            "{text}"
        );
    }
    let packs = schema("docker/packs/pack.schema.json");
    let text = r#"{"id": "p", "version": "1", "description": "d", "requirements": ["a==1"], "limits": {"cpus": 0.5},
        "components": [{"id": "p:tool:t", "name": "T", "runner": "py", "entry": "t.py", "description": "d", "schema": {}}],
        "requests": {"p:tool:t": {"file_read": {"directories": ["/a"]}}}}"#;
    Manifest::parse(text.as_bytes()).unwrap();
    assert!(packs.is_valid(&serde_json::from_str(text).unwrap()));
    // Whether a runner of this name is configured, only the broker knows.
    for (runner, valid) in [("perl", true), ("Perl 5", false), ("", false)] {
        let text = text.replace("\"py\"", &format!("\"{runner}\""));
        assert_eq!(Manifest::parse(text.as_bytes()).is_ok(), valid, "{runner}");
        assert_eq!(
            packs.is_valid(&serde_json::from_str(&text).unwrap()),
            valid,
            "{runner}"
        );
    }
}

#[test]
fn the_example_packs_are_valid() {
    let schema = schema("docker/packs/pack.schema.json");
    let mut packs = 0;
    for entry in std::fs::read_dir(root("docker/packs")).unwrap() {
        let entry = entry.unwrap();
        let Ok(bytes) = std::fs::read(entry.path().join("pack.json")) else {
            continue;
        };
        let manifest = Manifest::parse(&bytes).unwrap();
        assert_eq!(manifest.id.as_str(), entry.file_name().to_str().unwrap());
        assert!(
            schema.is_valid(&serde_json::from_slice(&bytes).unwrap()),
            "{}",
            manifest.id
        );
        for component in &manifest.components {
            let file = entry.path().join(component.entry.as_str());
            assert!(file.is_file(), "{}: no {}", component.id, component.entry);
        }
        packs += 1;
    }
    assert!(packs > 0, "there are example packs");
}
