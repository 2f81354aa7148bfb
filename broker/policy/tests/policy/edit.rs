//! Editing grant files.

use rumi_policy::edit::{Change, EditError, Edited, add, remove};
use rumi_policy::{Network, NetworkAsk, Permission, PolicySet};

use crate::world::{ME, ask, file, me, reason, scopes, source};

fn change(permission: Permission, values: &[&str], commands: &[&str]) -> Change {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    Change::parse(permission, &own(values), &own(commands)).unwrap()
}

fn added(
    existing: Option<&[u8]>,
    permission: Permission,
    values: &[&str],
    commands: &[&str],
) -> Edited {
    add(existing, &me(), &change(permission, values, commands)).unwrap()
}

fn value(edited: &Edited) -> serde_json::Value {
    serde_json::from_slice(&edited.bytes).unwrap()
}

#[test]
fn a_first_grant_is_made() {
    let edited = added(None, Permission::FileRead, &["/srv/a"], &[]);
    assert!(edited.changed);
    let text = String::from_utf8(edited.bytes).unwrap();
    assert!(
        text.ends_with("}\n") && text.contains("\n  \"component_id\""),
        "{text}"
    );
    let again = added(
        Some(text.as_bytes()),
        Permission::FileRead,
        &["/srv/a", "/srv/a/b"],
        &[],
    );
    assert!(!again.changed, "what is covered is not added");
    assert_eq!(String::from_utf8(again.bytes).unwrap(), text);
    let more = added(
        Some(text.as_bytes()),
        Permission::FileRead,
        &["/srv/ab"],
        &[],
    );
    assert_eq!(
        value(&more)["permissions"]["file_read"]["directories"],
        serde_json::json!(["/srv/a", "/srv/ab"])
    );
}

#[test]
fn what_a_change_does_not_concern_stays() {
    let before = format!(
        r#"{{"$schema": "./grant.schema.json", "permissions": {{"env_read": {{"allowed_keys": ["Z", "A"], "enabled": true}},
        "file_read": {{"exclude": ["x"], "enabled": true, "directories": ["/z", "/a"], "max_bytes": 18446744073709551615}}}},
        "component_id": "{ME}"}}"#
    );
    let edited = added(Some(before.as_bytes()), Permission::FileRead, &["/m"], &[]);
    let text = String::from_utf8(edited.bytes).unwrap();
    let order = [
        "$schema",
        "permissions",
        "env_read",
        "\"Z\"",
        "\"A\"",
        "file_read",
        "exclude",
        "\"/z\"",
        "\"/a\"",
        "\"/m\"",
        "18446744073709551615",
        "component_id",
    ];
    let places: Vec<_> = order
        .iter()
        .map(|word| {
            text.find(word)
                .unwrap_or_else(|| panic!("{word} in {text}"))
        })
        .collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn terminal_takes_directories_and_commands() {
    let edited = added(
        None,
        Permission::Terminal,
        &["/srv/w"],
        &["ls", "/usr/bin/git"],
    );
    let terminal = &value(&edited)["permissions"]["terminal"];
    assert_eq!(
        terminal["allowed_commands"],
        serde_json::json!(["ls", "/usr/bin/git"])
    );
    let only = added(None, Permission::Terminal, &[], &["ls"]);
    assert_eq!(
        value(&only)["permissions"]["terminal"]["directories"],
        serde_json::json!([])
    );
    let less = remove(
        &edited.bytes,
        &me(),
        &change(Permission::Terminal, &[], &["ls"]),
    )
    .unwrap();
    assert_eq!(
        value(&less)["permissions"]["terminal"]["allowed_commands"],
        serde_json::json!(["/usr/bin/git"])
    );
}

/// Adding one host at one port lets nothing else in.
#[test]
fn a_port_is_added_for_its_host_only() {
    let first = added(None, Permission::Network, &["a.example"], &[]);
    assert_eq!(
        value(&first)["permissions"]["network"]["allowed_domains"],
        serde_json::json!(["a.example"])
    );
    assert_eq!(
        value(&first)["permissions"]["network"]["allowed_ports"],
        serde_json::json!([443])
    );
    let second = added(
        Some(&first.bytes),
        Permission::Network,
        &["b.example:8443"],
        &[],
    );
    let third = added(
        Some(&second.bytes),
        Permission::Network,
        &["[2606:4700::1]:443", "c.example:443"],
        &[],
    );
    let domains = &value(&third)["permissions"]["network"]["allowed_domains"];
    assert_eq!(
        *domains,
        serde_json::json!(["a.example", "b.example:8443", "2606:4700::1", "c.example"])
    );
    let mut source = source("{}");
    source.grants = vec![file(format!("{ME}.json"), &third.bytes)];
    let set = PolicySet::compile(source);
    for (url, expected) in [
        ("https://a.example/", "ok"),
        ("https://a.example:8443/", "port_not_allowed"),
        ("https://b.example:8443/", "ok"),
        ("https://b.example/", "port_not_allowed"),
        ("https://[2606:4700::1]/", "ok"),
    ] {
        assert_eq!(
            reason(&ask::<Network>(
                &set,
                NetworkAsk::parse("GET", url).unwrap()
            )),
            expected,
            "{url}"
        );
    }
}

#[test]
fn a_grant_with_more_ports_is_not_widened_by_a_plain_host() {
    let many = format!(
        r#"{{"component_id": "{ME}", "permissions": {{"network": {{"enabled": true,
        "allowed_domains": ["a.example"], "allowed_ports": [443, 8443]}}}}}}"#
    );
    let edited = added(
        Some(many.as_bytes()),
        Permission::Network,
        &["b.example"],
        &[],
    );
    assert_eq!(
        value(&edited)["permissions"]["network"]["allowed_domains"],
        serde_json::json!(["a.example", "b.example:443"])
    );
    let covered = added(
        Some(many.as_bytes()),
        Permission::Network,
        &["a.example:8443", "a.example"],
        &[],
    );
    assert!(!covered.changed);
    let less = remove(
        many.as_bytes(),
        &me(),
        &change(Permission::Network, &["a.example:8443"], &[]),
    )
    .unwrap();
    assert_eq!(
        value(&less)["permissions"]["network"]["allowed_domains"],
        serde_json::json!(["a.example:443"])
    );
    let gone = remove(
        many.as_bytes(),
        &me(),
        &change(Permission::Network, &["a.example"], &[]),
    )
    .unwrap();
    assert_eq!(
        value(&gone)["permissions"]["network"]["allowed_domains"],
        serde_json::json!([])
    );
    let implicit = many.replace(r#", "allowed_ports": [443, 8443]"#, "");
    let edited = added(
        Some(implicit.as_bytes()),
        Permission::Network,
        &["b.example"],
        &[],
    );
    assert_eq!(
        value(&edited)["permissions"]["network"]["allowed_domains"],
        serde_json::json!(["a.example", "b.example:443"])
    );
}

#[test]
fn removing() {
    let edited = added(None, Permission::EnvRead, &["A", "B"], &[]);
    let less = remove(
        &edited.bytes,
        &me(),
        &change(Permission::EnvRead, &["A"], &[]),
    )
    .unwrap();
    assert!(less.changed);
    assert_eq!(
        value(&less)["permissions"]["env_read"]["allowed_keys"],
        serde_json::json!(["B"])
    );
    assert!(
        !remove(
            &less.bytes,
            &me(),
            &change(Permission::EnvRead, &["A"], &[])
        )
        .unwrap()
        .changed
    );
    let whole = remove(&less.bytes, &me(), &change(Permission::EnvRead, &[], &[])).unwrap();
    assert_eq!(value(&whole)["permissions"], serde_json::json!({}));
    assert!(
        !remove(&whole.bytes, &me(), &change(Permission::Network, &[], &[]))
            .unwrap()
            .changed
    );
}

#[test]
fn what_cannot_be_done_is_said() {
    let parse = |permission, values: &[&str], commands: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Change::parse(permission, &own(values), &own(commands))
    };
    assert!(matches!(
        parse(Permission::FileRead, &["relative"], &[]),
        Err(EditError::Value(_))
    ));
    assert!(matches!(
        parse(Permission::FileRead, &["/a"], &["ls"]),
        Err(EditError::Values { .. })
    ));
    assert!(matches!(
        parse(Permission::Network, &["https://a.example"], &[]),
        Err(EditError::Value(_))
    ));
    assert!(matches!(
        parse(Permission::EnvRead, &["A=B"], &[]),
        Err(EditError::Value(_))
    ));
    assert!(matches!(
        add(None, &me(), &change(Permission::EnvRead, &[], &[])),
        Err(EditError::Values { .. })
    ));
    let one = change(Permission::EnvRead, &["A"], &[]);
    for broken in [
        "",
        "{",
        "[]",
        r#"{"component_id": "other:tool:x", "permissions": {}}"#,
    ] {
        assert!(
            matches!(
                add(Some(broken.as_bytes()), &me(), &one),
                Err(EditError::File(_))
            ),
            "{broken}"
        );
        assert!(
            matches!(
                remove(broken.as_bytes(), &me(), &one),
                Err(EditError::File(_))
            ),
            "{broken}"
        );
    }
    let off = format!(
        r#"{{"component_id": "{ME}", "permissions": {{"env_read": {{"enabled": false, "allowed_keys": ["OLD"]}}}}}}"#
    );
    let error = add(Some(off.as_bytes()), &me(), &one).unwrap_err();
    assert!(error.to_string().contains("switched off"), "{error}");
}

/// Every remedy, run as `packctl` would run it, allows what was refused, and is needed.
#[test]
fn remedies_do_what_they_promise() {
    use crate::world::path;
    use rumi_policy::{
        EnvRead, EnvReadAsk, FileRead, FileReadAction, FileReadAsk, FileWrite, FileWriteAction,
        FileWriteAsk, Terminal, TerminalAsk,
    };

    fn lifts<C: rumi_policy::Capability>(existing: Option<&[u8]>, asked: C::Ask) {
        let set_of = |grant: Option<&[u8]>| {
            let grants = grant
                .map(|bytes| file(format!("{ME}.json"), bytes))
                .into_iter()
                .collect();
            PolicySet::compile(rumi_policy::PolicySource {
                grants,
                scopes: scopes(),
                protected: vec![],
            })
        };
        let denial = ask::<C>(&set_of(existing), asked.clone()).unwrap_err();
        let remedy = denial
            .remedy
            .unwrap_or_else(|| panic!("no remedy for {asked:?}"));
        let words = remedy.argv();
        assert_eq!(&words[..4], ["packctl", "grant", "add", ME]);
        let split = words
            .iter()
            .position(|word| word == "--command")
            .unwrap_or(words.len());
        let commands: Vec<String> = words[split..]
            .iter()
            .filter(|word| *word != "--command")
            .cloned()
            .collect();
        let change = Change::parse(words[4].parse().unwrap(), &words[5..split], &commands).unwrap();
        let edited = add(existing, &me(), &change).unwrap();
        let answer = ask::<C>(&set_of(Some(&edited.bytes)), asked.clone());
        assert_eq!(reason(&answer), "ok", "{remedy} for {asked:?}");
    }

    let other = format!(
        r#"{{"component_id": "{ME}", "permissions": {{
        "file_read": {{"enabled": true, "directories": ["/else"], "exclude": ["x"]}},
        "file_write": {{"enabled": true, "directories": ["/else"]}}, "env_read": {{"enabled": true, "allowed_keys": ["OTHER"]}},
        "terminal": {{"enabled": true, "directories": ["/else"], "allowed_commands": []}},
        "network": {{"enabled": true, "allowed_domains": ["else.example"], "allowed_ports": [8080]}}}}}}"#
    );
    for existing in [None, Some(other.as_bytes())] {
        let read = |action, text: &str| FileReadAsk {
            action,
            path: path(text),
        };
        lifts::<FileRead>(
            existing,
            read(
                FileReadAction::Read {
                    offset: 0,
                    length: 0,
                },
                "/srv/a b/it's",
            ),
        );
        lifts::<FileRead>(existing, read(FileReadAction::List, "/srv"));
        let write = |action, text: &str| FileWriteAsk {
            action,
            path: path(text),
            bytes: 1,
        };
        lifts::<FileWrite>(existing, write(FileWriteAction::Write, "/srv/x"));
        lifts::<FileWrite>(
            existing,
            write(
                FileWriteAction::Rename {
                    to: path("/data/y"),
                },
                "/srv/x",
            ),
        );
        lifts::<EnvRead>(existing, EnvReadAsk::One("KEY".parse().unwrap()));
        lifts::<Terminal>(
            existing,
            TerminalAsk::new(vec!["ls".into()], path("/srv/w"), None).unwrap(),
        );
        lifts::<Terminal>(
            existing,
            TerminalAsk::new(vec!["ls".into()], path("/else/w"), None).unwrap(),
        );
        for url in [
            "https://a.example/",
            "http://a.example/",
            "https://[2606:4700::1]/",
            "https://else.example/",
        ] {
            lifts::<Network>(existing, NetworkAsk::parse("GET", url).unwrap());
        }
    }
}

#[test]
fn files_are_added_and_taken_out_by_their_own_paths() {
    let files = |permission, files: &[&str]| {
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        Change::parse(permission, &[], &[]).and_then(|change| change.with_files(&files))
    };
    let change = files(Permission::FileRead, &["/srv/a.txt"]).unwrap();
    let edited = add(None, &me(), &change).unwrap();
    assert_eq!(
        value(&edited)["permissions"]["file_read"],
        serde_json::json!({"enabled": true, "directories": [], "files": ["/srv/a.txt"]})
    );
    assert!(!add(Some(&edited.bytes), &me(), &change).unwrap().changed);
    let without = remove(&edited.bytes, &me(), &change).unwrap();
    assert_eq!(
        value(&without)["permissions"]["file_read"]["files"],
        serde_json::json!([])
    );
    for (permission, wrong) in [
        (Permission::FileRead, "/"),
        (Permission::FileWrite, "relative"),
        (Permission::FileRead, "/srv/../a"),
        (Permission::EnvRead, "/srv/a"),
        (Permission::Terminal, "/srv/a"),
    ] {
        assert!(files(permission, &[wrong]).is_err(), "{permission} {wrong}");
    }
}
