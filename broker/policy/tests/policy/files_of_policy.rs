//! Grant and scope files, good and bad.

use rumi_policy::{
    ComponentId, EnvRead, EnvReadAsk, MAX_FILE_BYTES, PolicySet, PolicySource, Problem, UnixMillis,
    decide,
};

use crate::world::{ME, ask, file, grant_text, me, path, policy, reason, scopes, source};

const FINE: &str = r#"{"env_read": {"enabled": true, "allowed_keys": ["KEY"]}}"#;

fn key() -> EnvReadAsk {
    EnvReadAsk::One("KEY".parse().unwrap())
}

fn compile(grants: Vec<(&str, &[u8])>) -> PolicySet {
    let grants = grants
        .into_iter()
        .map(|(name, bytes)| file(name, bytes))
        .collect();
    PolicySet::compile(PolicySource {
        grants,
        scopes: scopes(),
        protected: vec![],
    })
}

/// Compiles one grant of [`ME`] that must be refused, and gives its one problem.
fn refused(text: &[u8]) -> Problem {
    let name = format!("{ME}.json");
    let set = compile(vec![
        (&name, text),
        ("other:tool:x.json", other().as_bytes()),
    ]);
    assert_eq!(
        reason(&ask::<EnvRead>(&set, key())),
        "grant_invalid",
        "{}",
        String::from_utf8_lossy(text)
    );
    let neighbour: ComponentId = "other:tool:x".parse().unwrap();
    assert_eq!(
        reason(&decide::<EnvRead>(&set, &neighbour, key(), UnixMillis(0))),
        "ok",
        "everybody else goes on"
    );
    assert_eq!(set.components().collect::<Vec<_>>(), [&neighbour]);
    assert!(set.grant(&me()).is_none());
    assert_eq!(set.problems().len(), 1, "{:?}", set.problems());
    let problem = set.problems()[0].clone();
    assert_eq!(problem.file, format!("grants/{ME}.json"));
    assert!(!problem.remedy.is_empty());
    problem
}

fn other() -> String {
    grant_text(FINE).replace(ME, "other:tool:x")
}

#[test]
fn broken_json_names_its_line() {
    let cases: [(&[u8], Option<usize>); 9] = [
        (b"", None),
        (b" \n\t", None),
        (b"{", Some(1)),
        (b"{\n\"a\": 1,\n}", Some(3)),
        (b"[1, 2", Some(1)),
        (b"nul", Some(1)),
        (b"{\"component_id\": \"\xff\"}", Some(1)),
        (b"{} {}", Some(1)),
        (b"\xef\xbb\xbf{}", Some(1)),
    ];
    for (text, line) in cases {
        let problem = refused(text);
        assert_eq!(problem.line, line, "{problem}");
    }
    let deep = "[".repeat(100_000);
    assert!(
        refused(deep.as_bytes()).message.contains("recursion"),
        "deep nesting must not overflow the stack"
    );
}

#[test]
fn every_double_key_is_found() {
    for text in [
        format!(r#"{{"component_id": "{ME}", "component_id": "{ME}", "permissions": {FINE}}}"#),
        format!("{{\"component_id\": \"{ME}\",\n\"permissions\": {{}},\n\"permissions\": {FINE}}}"),
        grant_text(r#"{"env_read": {"enabled": false, "enabled": true, "allowed_keys": []}}"#),
        grant_text(
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "allowed\u005fkeys": ["KEY"]}}"#,
        ),
    ] {
        let problem = refused(text.as_bytes());
        assert!(problem.message.contains("stands here twice"), "{problem}");
        assert!(problem.line.is_some(), "{problem}");
    }
}

#[test]
fn every_other_fault_names_its_field() {
    let long = format!(
        r#"{{"env_read": {{"enabled": true, "allowed_keys": [{}"Z"]}}}}"#,
        (0..5000).map(|n| format!("\"K{n}\", ")).collect::<String>()
    );
    let cases = [
        (
            r#"{"env_read": {"enabled": true}}"#,
            "permissions.env_read.allowed_keys",
        ),
        (
            r#"{"env_read": {"allowed_keys": []}}"#,
            "permissions.env_read.enabled",
        ),
        (
            r#"{"env_read": {"enabled": 1, "allowed_keys": []}}"#,
            "permissions.env_read.enabled",
        ),
        (
            r#"{"env_read": {"enabled": "true", "allowed_keys": []}}"#,
            "permissions.env_read.enabled",
        ),
        (
            r#"{"env_read": {"enabled": null, "allowed_keys": []}}"#,
            "permissions.env_read.enabled",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": "KEY"}}"#,
            "permissions.env_read.allowed_keys",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": null}}"#,
            "permissions.env_read.allowed_keys",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": ["A", "*"]}}"#,
            "permissions.env_read.allowed_keys[1]",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": ["A", "A"]}}"#,
            "permissions.env_read.allowed_keys[1]",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [1]}}"#,
            "permissions.env_read.allowed_keys[0]",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "max_bytes": 0}}"#,
            "permissions.env_read.max_bytes",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "max_bytes": -1}}"#,
            "permissions.env_read.max_bytes",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "max_bytes": 1.5}}"#,
            "permissions.env_read.max_bytes",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "max_bytes": "1"}}"#,
            "permissions.env_read.max_bytes",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "expires_at": "2030"}}"#,
            "permissions.env_read.expires_at",
        ),
        (
            r#"{"env_read": {"enabled": true, "allowed_keys": [], "Enabled": true}}"#,
            "permissions.env_read.Enabled",
        ),
        (r#"{"env_read": []}"#, "permissions.env_read"),
        (r#"{"env_read": null}"#, "permissions.env_read"),
        (r#"{"env-write": {}}"#, "permissions.env-write"),
        (r#"{"env_write": {}}"#, "permissions.env_write.enabled"),
        (r#"[]"#, "permissions"),
        (r#"null"#, "permissions"),
        (
            r#"{"file_read": {"enabled": true, "directories": ["/a/../b"]}}"#,
            "permissions.file_read.directories[0]",
        ),
        (
            r#"{"file_read": {"enabled": true, "directories": ["a"]}}"#,
            "permissions.file_read.directories[0]",
        ),
        (
            r#"{"file_read": {"enabled": true, "directories": ["/a/"]}}"#,
            "permissions.file_read.directories[0]",
        ),
        (
            r#"{"file_read": {"enabled": true, "directories": [], "patterns": ["["]}}"#,
            "permissions.file_read.patterns[0]",
        ),
        (
            r#"{"file_read": {"enabled": true, "directories": [], "exclude": ["/x"]}}"#,
            "permissions.file_read.exclude[0]",
        ),
        (
            r#"{"terminal": {"enabled": true, "directories": [], "allowed_commands": ["ls  -l"]}}"#,
            "permissions.terminal.allowed_commands[0]",
        ),
        (
            r#"{"terminal": {"enabled": true, "directories": []}}"#,
            "permissions.terminal.allowed_commands",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": ["*"]}}"#,
            "permissions.network.allowed_domains[0]",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": ["https://a"]}}"#,
            "permissions.network.allowed_domains[0]",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "allowed_ports": [0]}}"#,
            "permissions.network.allowed_ports[0]",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "allowed_ports": [443, 70000]}}"#,
            "permissions.network.allowed_ports[1]",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "allowed_ports": ["443"]}}"#,
            "permissions.network.allowed_ports[0]",
        ),
        (
            r#"{"network": {"enabled": true, "allowed_domains": [], "methods": ["get"]}}"#,
            "permissions.network.methods[0]",
        ),
        (&long, "permissions.env_read.allowed_keys"),
    ];
    for (permissions, field) in cases {
        let problem = refused(grant_text(permissions).as_bytes());
        assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
    }
    for (text, field) in [
        (format!(r#"{{"permissions": {FINE}}}"#), "component_id"),
        (format!(r#"{{"component_id": "{ME}"}}"#), "permissions"),
        (
            format!(r#"{{"component_id": "{ME}", "permissions": {FINE}, "x": 1}}"#),
            "x",
        ),
        (
            format!(r#"{{"component_id": "default:tool:other", "permissions": {FINE}}}"#),
            "component_id",
        ),
        (
            format!(
                r#"{{"component_id": "{}", "permissions": {FINE}}}"#,
                ME.to_uppercase()
            ),
            "component_id",
        ),
        (
            format!(r#"{{"$schema": 1, "component_id": "{ME}", "permissions": {FINE}}}"#),
            "$schema",
        ),
    ] {
        assert_eq!(refused(text.as_bytes()).field.as_deref(), Some(field));
    }
}

#[test]
fn huge_files_are_refused_unread() {
    let mut text = grant_text(FINE).into_bytes();
    text.resize(MAX_FILE_BYTES, b' ');
    let name = format!("{ME}.json");
    assert_eq!(
        reason(&ask::<EnvRead>(&compile(vec![(&name, &text)]), key())),
        "ok"
    );
    text.push(b' ');
    assert!(refused(&text).message.contains("larger than"));
}

#[test]
fn a_file_named_for_nobody_gives_nobody_anything() {
    let text = grant_text(FINE);
    for name in [
        "default:tool:my_tool.JSON",
        "x.json",
        "Default:tool:my_tool.json",
        "default:tool:my_tool .json",
        "default_tool_my_tool.json",
    ] {
        let set = compile(vec![(name, text.as_bytes())]);
        assert_eq!(reason(&ask::<EnvRead>(&set, key())), "no_grant", "{name}");
        assert_eq!(
            set.problems().len(),
            usize::from(name.ends_with(".json")),
            "{name}"
        );
    }
    // Another component's name on the file denies that other one, and gives nothing to this one.
    let set = compile(vec![("default:tool:other.json", text.as_bytes())]);
    assert_eq!(reason(&ask::<EnvRead>(&set, key())), "no_grant");
    let owner: ComponentId = "default:tool:other".parse().unwrap();
    assert_eq!(
        reason(&decide::<EnvRead>(&set, &owner, key(), UnixMillis(0))),
        "grant_invalid"
    );
}

#[test]
fn what_editors_leave_is_no_grant() {
    let text = grant_text(FINE);
    let name = format!("{ME}.json");
    let set = compile(vec![
        (&name, text.as_bytes()),
        (".default:tool:my_tool.json.swp", b"x"),
        (".x.json", b"x"),
        ("default:tool:my_tool.json~", b"x"),
        ("README.md", b"x"),
        ("grant.schema.json", b"x"),
        ("4913", b""),
    ]);
    assert_eq!(
        (set.problems().len(), reason(&ask::<EnvRead>(&set, key()))),
        (0, "ok")
    );
}

#[test]
fn scopes_are_needed_and_strict() {
    let with = |text: Option<&str>| {
        let mut source = source(FINE);
        source.scopes.retain(|file| file.name != "env_read.json");
        source
            .scopes
            .extend(text.map(|text| file("env_read.json", text)));
        PolicySet::compile(source)
    };
    let good = r#"{"version": "1.0", "description": "d", "default_config": {}, "limits": {}}"#;
    assert_eq!(reason(&ask::<EnvRead>(&with(Some(good)), key())), "ok");
    for bad in [
        None,
        Some(""),
        Some("{}"),
        Some("{"),
        Some(&good.replace("1.0", "1.1")),
        Some(&good.replace("\"1.0\"", "1.0")),
        Some(&good.replace(r#", "limits": {}"#, "")),
        Some(&good.replace(r#""limits": {}"#, r#""limits": {"forbiden": []}"#)),
        Some(&good.replace(r#""limits": {}"#, r#""limits": {"forbidden": ["*"]}"#)),
        Some(&good.replace(r#""limits": {}"#, r#""limits": {"timeout_ms": 5}"#)),
        Some(&good.replace(r#""limits": {}"#, r#""limits": {}, "limits": {}"#)),
        Some(&good.replace(
            r#""default_config": {}"#,
            r#""default_config": {"max_bytes": "9"}"#,
        )),
    ] {
        let set = with(bad);
        assert_eq!(
            reason(&ask::<EnvRead>(&set, key())),
            "scope_invalid",
            "{bad:?}"
        );
        assert_eq!(set.problems().len(), 1, "{:?}", set.problems());
        assert_eq!(set.problems()[0].file, "scopes/env_read.json");
        assert!(set.scope(rumi_policy::Permission::EnvRead).is_none());
    }
    for entry in [
        "relative", "/", "**", "**/", "/a/**", "/a/**/b", "/a*b*", "/a?", "/a/../b", "/[a]", "",
        "/a/",
    ] {
        let text = good.replace(
            r#""limits": {}"#,
            &format!(r#""limits": {{"forbidden": ["{entry}"]}}"#),
        );
        assert!(
            rumi_policy::Scope::parse("file_read.json", text.as_bytes(), &[]).is_err(),
            "{entry}"
        );
    }
}

#[test]
fn problems_are_one_safe_line() {
    let name = "\u{1b}]0;x\u{7}\n:tool:x.json";
    let set = compile(vec![(name, b"{}")]);
    let line = set.problems()[0].to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let text = grant_text("{\"\u{202e}\\u001b[2J\": 1}");
    let line = refused(text.as_bytes()).to_string();
    assert!(
        !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{line:?}"
    );
    let text = grant_text("{\"\\u001b[2J\": 1, \"\\u001b[2J\": 1}");
    let line = refused(text.as_bytes()).to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

#[test]
fn the_hash_names_exactly_these_files() {
    let base = PolicySet::compile(source(FINE)).hash();
    assert_eq!(base, PolicySet::compile(source(FINE)).hash());
    assert_eq!(base.hex().len(), 64);
    let mut shuffled = source(FINE);
    shuffled.scopes.reverse();
    shuffled.grants.push(file("README.md", "ignored"));
    assert_eq!(
        base,
        PolicySet::compile(shuffled).hash(),
        "order and other files do not count"
    );
    let mut others = Vec::new();
    let mut change = |edit: &dyn Fn(&mut PolicySource)| {
        let mut changed = source(FINE);
        edit(&mut changed);
        others.push(PolicySet::compile(changed).hash());
    };
    change(&|s| s.grants[0].bytes.push(b'\n'));
    change(&|s| s.grants[0].name = "other:tool:x.json".to_owned());
    change(&|s| s.grants.clear());
    change(&|s| {
        let scope = s
            .scopes
            .iter_mut()
            .find(|file| file.name == "env_read.json");
        scope.unwrap().bytes.push(b'\n');
    });
    change(&|s| s.protected.push(path("/x")));
    change(&|s| {
        let moved = s.grants.remove(0);
        s.scopes.push(moved);
    });
    others.push(base);
    let distinct: std::collections::HashSet<_> = others.iter().collect();
    assert_eq!(distinct.len(), others.len());
    let scopes = scopes();
    let scopes = scopes.iter().filter(|file| !file.name.contains(".schema."));
    let files = PolicySet::compile(source(FINE)).files().len();
    assert_eq!(files, 1 + scopes.count());
}

#[test]
fn an_unknown_component_has_nothing() {
    let set = policy(FINE);
    let stranger: ComponentId = "default:tool:my_tool2".parse().unwrap();
    assert_eq!(
        reason(&decide::<EnvRead>(&set, &stranger, key(), UnixMillis(0))),
        "no_grant"
    );
    let service: ComponentId = "default:service:my_tool".parse().unwrap();
    assert_eq!(
        reason(&decide::<EnvRead>(&set, &service, key(), UnixMillis(0))),
        "no_grant"
    );
}
