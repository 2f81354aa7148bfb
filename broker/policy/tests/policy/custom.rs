//! Custom handlers.

use rumi_policy::edit::{EditError, Edited, add_custom, remove_custom};
use rumi_policy::{
    Custom, CustomAsk, CustomFound, HandlerMeta, HandlerName, HandlerState, PackId, PolicySet,
};
use serde_json::{Value, json};

use crate::world::{ask, file, me, policy, reason, remedy, source};

fn call(handler: &str) -> CustomAsk {
    CustomAsk {
        handler: handler.parse().unwrap(),
        args: "{}".into(),
        bytes: 2,
        fingerprint: "f".to_owned(),
        depth: 0,
    }
}

fn ready(requires_scope: bool) -> CustomFound {
    CustomFound {
        handler: HandlerState::Ready { requires_scope },
        arguments: Ok(()),
    }
}

/// The policy with a scope for `clock`; problems are looked at by the test.
fn scoped(permissions: &str, defaults: &str, limits: &str) -> PolicySet {
    let mut source = source(permissions);
    let text = format!(
        r#"{{"version": "1.0", "description": "d", "default_config": {defaults}, "limits": {limits}}}"#
    );
    source.scopes.push(file("clock.json", text));
    PolicySet::compile(source)
}

fn config(set: &PolicySet) -> Value {
    let permit = ask::<Custom>(set, call("clock")).unwrap();
    serde_json::from_str(permit.terms().config()).unwrap()
}

#[test]
fn names_are_strict() {
    for good in ["a", "clock", "sqlite_query", "a1_", &"a".repeat(40)] {
        let name: HandlerName = good.parse().unwrap();
        let pack = name.pack();
        assert!(pack.is_reserved());
        assert_eq!(pack.as_str().parse::<PackId>().unwrap(), pack);
        assert_eq!(HandlerName::of_pack(&pack), Some(name.clone()));
        let component = name.component();
        assert_eq!(
            component.as_str().parse::<rumi_policy::ComponentId>(),
            Ok(component.clone())
        );
        assert_eq!(component.pack(), pack);
        assert_eq!(
            (component.name(), component.pack_str()),
            ("execute", pack.as_str())
        );
    }
    for bad in [
        "",
        "A",
        "Clock",
        "1a",
        "_a",
        "a-b",
        "a.b",
        "a/b",
        "../x",
        "clock.py",
        "file_read",
        "terminal",
        "a b",
        "a\n",
        "a\0",
        "é",
        "ｃlock",
        "сlock",
        &"a".repeat(41),
    ] {
        assert!(bad.parse::<HandlerName>().is_err(), "{bad:?}");
        let permissions = json!({bad: {"enabled": true}}).to_string();
        if bad.parse::<rumi_policy::Permission>().is_err() {
            let set = PolicySet::compile(source(&permissions));
            assert_eq!(set.problems().len(), 1, "{bad:?}");
            assert_eq!(reason(&ask::<Custom>(&set, call("clock"))), "grant_invalid");
        }
    }
    let other: PackId = "handlers".parse().unwrap();
    assert!(!other.is_reserved());
    let strange: PackId = "handler-A".to_lowercase().parse().unwrap();
    assert!(strange.is_reserved());
    let no_name: PackId = "handler-file_read".parse().unwrap();
    assert!(no_name.is_reserved() && HandlerName::of_pack(&no_name).is_none());
}

#[test]
fn only_what_was_granted_is_called() {
    let set = policy(r#"{"clock": {"enabled": true}, "off": {"enabled": false}}"#);
    assert_eq!(reason(&ask::<Custom>(&set, call("clock"))), "ok");
    assert_eq!(reason(&ask::<Custom>(&set, call("off"))), "disabled");
    let denial = ask::<Custom>(&set, call("other")).unwrap_err();
    assert_eq!(denial.reason.as_str(), "no_grant");
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool other"
    );
}

#[test]
fn a_call_is_bounded() {
    let set = policy(r#"{"clock": {"enabled": true}}"#);
    let large = CustomAsk {
        bytes: (1 << 20) + 1,
        ..call("clock")
    };
    assert_eq!(reason(&ask::<Custom>(&set, large)), "too_large");
    let deep = |depth| CustomAsk {
        depth,
        ..call("clock")
    };
    assert_eq!(reason(&ask::<Custom>(&set, deep(3))), "ok");
    assert_eq!(reason(&ask::<Custom>(&set, deep(4))), "quota");
}

#[test]
fn what_is_found_decides_as_well() {
    let set = policy(r#"{"clock": {"enabled": true}}"#);
    let confirm = |found: &CustomFound| {
        let permit = ask::<Custom>(&set, call("clock")).unwrap();
        permit.confirm(found).map(drop)
    };
    assert_eq!(reason(&confirm(&ready(false))), "ok");
    assert_eq!(reason(&confirm(&ready(true))), "scope_invalid");
    for (handler, detail) in [
        (HandlerState::Missing, "docker/handlers/clock.py"),
        (HandlerState::Refused("its why".to_owned()), "its why"),
    ] {
        let found = CustomFound {
            handler,
            arguments: Ok(()),
        };
        let denial = confirm(&found).unwrap_err();
        assert_eq!(denial.reason.as_str(), "unknown_component");
        assert!(denial.detail.unwrap().contains(detail));
        assert!(!denial.sentence.contains(detail), "the pack is not told");
    }
    let found = CustomFound {
        arguments: Err("`/pin`: the secret 1234".to_owned()),
        ..ready(false)
    };
    let denial = confirm(&found).unwrap_err();
    assert_eq!(denial.reason.as_str(), "bad_request");
    assert!(denial.sentence.contains("/pin"));
    assert!(
        !denial.detail.unwrap().contains("1234"),
        "the log is not told"
    );
    let scoped = scoped(r#"{"clock": {"enabled": true}}"#, "{}", "{}");
    let permit = ask::<Custom>(&scoped, call("clock")).unwrap();
    assert_eq!(reason(&permit.confirm(&ready(true))), "ok");
}

#[test]
fn defaults_fill_in_what_a_grant_omits() {
    let grant = r#"{"clock": {"enabled": true, "zones": {"a": 1}, "format": null}}"#;
    let defaults = r#"{"zones": {"b": 2}, "format": "iso", "rows": 5, "list": [1]}"#;
    let set = scoped(grant, defaults, "{}");
    assert_eq!(
        config(&set),
        json!({"zones": {"a": 1}, "format": null, "rows": 5, "list": [1]})
    );
}

#[test]
fn limits_only_narrow() {
    for (granted, limited, effective) in [
        ("5", "10", "5"),
        ("50", "10", "10"),
        ("-1", "10", "-1"),
        ("10.5", "10", "10"),
        ("1e300", "10", "10"),
        (
            "18446744073709551615",
            "9007199254740993",
            "9007199254740993",
        ),
        ("9007199254740993", "9007199254740992", "9007199254740992"),
    ] {
        let grant = format!(r#"{{"clock": {{"enabled": true, "rows": {granted}}}}}"#);
        let set = scoped(&grant, "{}", &format!(r#"{{"rows": {limited}}}"#));
        let wanted: Value = serde_json::from_str(effective).unwrap();
        assert_eq!(config(&set)["rows"], wanted, "{granted} {limited}");
    }
    let silent = scoped(
        r#"{"clock": {"enabled": true}}"#,
        "{}",
        r#"{"rows": 3, "forbidden_zones": ["X"]}"#,
    );
    assert_eq!(
        config(&silent),
        json!({"rows": 3, "forbidden_zones": ["X"]})
    );
    let union = scoped(
        r#"{"clock": {"enabled": true, "forbidden_zones": ["Y", "X"]}}"#,
        r#"{"forbidden_zones": ["Z"], "rows": 9}"#,
        r#"{"forbidden_zones": ["W", "X"], "rows": 2}"#,
    );
    assert_eq!(
        config(&union),
        json!({"forbidden_zones": ["Y", "X", "W"], "rows": 2})
    );
    let default = scoped(
        r#"{"clock": {"enabled": true}}"#,
        r#"{"forbidden_zones": ["Z"]}"#,
        r#"{"forbidden_zones": ["W"]}"#,
    );
    assert_eq!(config(&default), json!({"forbidden_zones": ["Z", "W"]}));
}

/// What does not fit denies the handler, and leaves the rest of the grant as it is.
#[test]
fn a_configuration_of_another_kind_denies_the_handler_alone() {
    for config in [
        r#""rows": "5""#,
        r#""rows": null"#,
        r#""forbidden_zones": "X""#,
    ] {
        let grant =
            format!(r#"{{"clock": {{"enabled": true, {config}}}, "other": {{"enabled": true}}}}"#);
        let set = scoped(&grant, "{}", r#"{"rows": 5, "forbidden_zones": []}"#);
        assert_eq!(set.problems().len(), 1, "{config}");
        assert!(set.problems()[0].to_string().contains("permissions.clock"));
        assert_eq!(reason(&ask::<Custom>(&set, call("clock"))), "scope_limit");
        assert_eq!(reason(&ask::<Custom>(&set, call("other"))), "ok");
    }
}

#[test]
fn a_scope_that_is_not_valid_denies_the_handler_to_everybody() {
    for (defaults, limits) in [
        ("[]", "{}"),
        ("{}", r#"{"zones": ["a"]}"#),
        ("{}", r#"{"on": true}"#),
        ("{}", r#"{"forbidden": 5}"#),
        (r#"{"enabled": true}"#, "{}"),
        (r#"{"mode": "sandbox"}"#, "{}"),
        (r#"{"rows": "many"}"#, r#"{"rows": 5}"#),
    ] {
        let set = scoped(r#"{"clock": {"enabled": true}}"#, defaults, limits);
        assert_eq!(set.problems().len(), 1, "{defaults} {limits}");
        assert_eq!(set.problems()[0].file, "scopes/clock.json");
        assert_eq!(reason(&ask::<Custom>(&set, call("clock"))), "scope_invalid");
    }
    let mut names = source("{}");
    names.scopes.push(file("Clock.json", "{}"));
    assert_eq!(PolicySet::compile(names).problems().len(), 1);
}

#[test]
fn a_configuration_is_bounded() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let with = |value: &str| {
        let grant = format!(r#"{{"clock": {{"enabled": true, "a": {value}}}}}"#);
        reason(&ask::<Custom>(
            &PolicySet::compile(source(&grant)),
            call("clock"),
        ))
    };
    assert_eq!(with(&nested(15)), "ok");
    assert_eq!(with(&nested(16)), "grant_invalid");
    assert_eq!(with(&nested(120)), "grant_invalid");
    assert_eq!(with(&format!("\"{}\"", "x".repeat(60 << 10))), "ok");
    assert_eq!(
        with(&format!("\"{}\"", "x".repeat(64 << 10))),
        "grant_invalid"
    );
    assert_eq!(with(r#"{"b": 1, "b": 2}"#), "grant_invalid");
    for mode in ["\"host\"", "\"\"", "5"] {
        let grant = format!(r#"{{"clock": {{"enabled": true, "mode": {mode}}}}}"#);
        let set = PolicySet::compile(source(&grant));
        assert_eq!(
            reason(&ask::<Custom>(&set, call("clock"))),
            "grant_invalid",
            "{mode}"
        );
    }
    let set = policy(r#"{"clock": {"enabled": true, "mode": "sandbox", "a": 1}}"#);
    assert_eq!(
        config(&set),
        json!({"a": 1}),
        "the mode is no configuration"
    );
}

#[test]
fn meta_is_judged_strictly() {
    let good = json!({
        "requires_scope": false, "supports_modes": ["sandbox"], "description": "Tells the time.",
        "schema": {"type": "object"},
    });
    let meta = HandlerMeta::parse(&good.to_string()).unwrap();
    assert!(!meta.requires_scope && meta.schema.is_some());
    for (key, value, says) in [
        ("requires_scope", json!("no"), "requires_scope"),
        ("requires_scope", Value::Null, "requires_scope"),
        ("supports_modes", json!([]), "supports_modes"),
        ("supports_modes", json!(["host"]), "`host` is not a mode"),
        (
            "supports_modes",
            json!(["sandbox", "host"]),
            "`host` is not a mode",
        ),
        ("supports_modes", json!("sandbox"), "supports_modes"),
        ("description", json!(""), "description"),
        ("description", json!("a\nb"), "description"),
        ("description", json!("a\u{1b}[2J"), "description"),
        ("description", json!("x".repeat(501)), "description"),
        ("schema", json!([]), "schema"),
        ("version", json!(1), "there is no such field"),
        ("description", json!("x".repeat(70_000)), "65536"),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let error = HandlerMeta::parse(&bad.to_string())
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{key}: {error}");
    }
    for key in ["requires_scope", "supports_modes", "description"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(key);
        let error = HandlerMeta::parse(&bad.to_string())
            .unwrap_err()
            .to_string();
        assert!(error.contains(key), "{error}");
    }
    for bad in [
        "",
        "null",
        "[]",
        "5",
        "{",
        r#"{"description": "a", "description": "b"}"#,
    ] {
        assert!(HandlerMeta::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_grant_of_a_handler_is_edited() {
    let clock: HandlerName = "clock".parse().unwrap();
    let add = |before: Option<&[u8]>, config| add_custom(before, &me(), &clock, config);
    let text = |edited: &Edited| serde_json::from_slice::<Value>(&edited.bytes).unwrap();
    let first = add(None, None).unwrap();
    assert_eq!(
        text(&first)["permissions"],
        json!({"clock": {"enabled": true}})
    );
    assert!(!add(Some(&first.bytes), None).unwrap().changed);
    let more = add(Some(&first.bytes), Some(r#"{"a": {"b": 1}, "c": 2}"#)).unwrap();
    let more = add(Some(&more.bytes), Some(r#"{"c": 3}"#)).unwrap();
    let wanted = json!({"enabled": true, "a": {"b": 1}, "c": 3});
    assert_eq!(text(&more)["permissions"]["clock"], wanted);
    for bad in [
        "",
        "[]",
        "{",
        r#"{"a": 1, "a": 2}"#,
        r#"{"enabled": false}"#,
        r#"{"mode": "host"}"#,
    ] {
        assert!(add(Some(&more.bytes), Some(bad)).is_err(), "{bad}");
    }
    let remove = |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        remove_custom(&more.bytes, &me(), &clock, &keys)
    };
    assert_eq!(
        text(&remove(&["c"]).unwrap())["permissions"]["clock"],
        json!({"enabled": true, "a": {"b": 1}})
    );
    assert_eq!(text(&remove(&[]).unwrap())["permissions"], json!({}));
    assert!(!remove(&["z"]).unwrap().changed);
    assert!(remove(&["enabled"]).is_err());
    let off = String::from_utf8(first.bytes)
        .unwrap()
        .replace("true", "false");
    assert!(matches!(
        add(Some(off.as_bytes()), None),
        Err(EditError::Disabled { .. })
    ));
}
