//! Conditions on a command line, and how often a grant was used.

use rumi_proto::v1::{ComponentUses, PermissionUses, UsesResponse};
use serde_json::{Value, json};

use crate::{
    binary::Host,
    broker::{Broker, Script},
};

const TOOL: &str = "default:tool:my_tool";
const FILE: &str = "home/grants/default:tool:my_tool.json";

fn granted(host: &Host, permission: &str) -> Value {
    let grant: Value = serde_json::from_str(&host.read(FILE)).unwrap();
    grant["permissions"][permission].clone()
}

#[test]
fn conditions_come_with_values_or_after_them_and_go_again() {
    let host = Host::new();
    let add = |words: &[&str], code: i32| {
        let args: Vec<&str> = ["grant", "add", TOOL]
            .iter()
            .chain(words)
            .copied()
            .collect();
        host.expect(&args, code)
    };
    add(
        &[
            "env_read",
            "KEY",
            "--max-uses",
            "3",
            "--expires",
            "2h",
            "--ask",
        ],
        0,
    );
    let first = granted(&host, "env_read");
    assert_eq!(
        (&first["max_uses"], &first["ask"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(first["allowed_keys"], json!(["KEY"]));
    host.expect(&["grant", "check", TOOL, "env_read", "KEY"], 0)
        .prints("packctl grant show default:tool:my_tool");
    // What is not named stays as it is, and nothing is added.
    let later = [
        "env_read",
        "--rate",
        "60/min",
        "--not-before",
        "2001-01-01T00:00:00+01:00",
    ];
    add(&later, 0).prints("rate_per_minute");
    let second = granted(&host, "env_read");
    assert_eq!(second["expires_at"], first["expires_at"]);
    assert_eq!(second["rate_per_minute"], json!(60));
    assert_eq!(second["not_before"], json!("2001-01-01T00:00:00+01:00"));
    add(&later, 0).says("nothing to change");
    host.expect(&["grant", "ls"], 0).prints("max_uses=3");
    host.expect(&["grant", "show", TOOL], 0)
        .prints("rate_per_minute=60")
        .says("the broker, which does not answer");
    let none = [
        "--max-uses",
        "none",
        "--rate",
        "none",
        "--expires",
        "none",
        "--not-before",
        "none",
    ];
    let mut gone = vec!["env_read", "--no-ask"];
    gone.extend(none);
    add(&gone, 0);
    assert_eq!(
        granted(&host, "env_read"),
        json!({"enabled": true, "allowed_keys": ["KEY"]})
    );
    // Handlers too, with their configuration beside them.
    add(
        &["clock", "--config", r#"{"zone": "UTC"}"#, "--max-uses", "1"],
        0,
    );
    assert_eq!(
        granted(&host, "clock"),
        json!({"enabled": true, "zone": "UTC", "max_uses": 1})
    );
    add(&["clock", "--config", r#"{"max_uses": 9}"#], 2).says("is a condition of the grant");
    add(&["env_read", "--expires", "2001-01-01T00:00:00Z"], 0).says("has ended already");
    host.expect(&["grant", "check", TOOL, "env_read", "KEY"], 3)
        .prints("reason    expired")
        .prints("the grant ended at 2001-01-01T00:00:00Z");
}

#[test]
fn conditions_that_are_none_change_nothing() {
    let host = Host::new();
    let add = |words: &[&str], code: i32| {
        let args: Vec<&str> = ["grant", "add", TOOL]
            .iter()
            .chain(words)
            .copied()
            .collect();
        host.expect(&args, code)
    };
    add(&["env_read", "--max-uses", "3"], 2).says("has no `env_read`");
    assert!(!host.path(FILE).exists());
    add(&["env_read", "KEY"], 0);
    let before = host.read(FILE);
    for words in [
        &["--max-uses", "0"][..],
        &["--max-uses", "-1"],
        &["--max-uses", "3.5"],
        &["--max-uses"],
        &["--rate", "60/h"],
        &["--rate", "1000001"],
        &["--expires", "tomorrow"],
        &["--expires", "0h"],
        &["--expires", "2030-01-31"],
        &["--expires", "2030-01-31T12:00:00"],
        &["--expires", "9999999w"],
        &["--not-before", "\x1b[31m"],
        &["--ask", "--no-ask"],
        &[],
    ] {
        let mut all = vec!["env_read"];
        all.extend(words);
        let refused = add(&all, 2);
        assert!(!refused.stderr.contains('\x1b'), "{words:?}");
    }
    let never = ["env_read", "--not-before", "2h", "--expires", "1h"];
    add(&never, 1).says("never holds");
    add(&["network", "--ask"], 2).says("has no `network`");
    assert_eq!(host.read(FILE), before);
}

#[test]
fn uses_are_shown_and_counted_anew() {
    let host = Host::new();
    let counted = |readable| Script {
        uses: UsesResponse {
            components: vec![ComponentUses {
                component_id: TOOL.to_owned(),
                readable,
                permissions: vec![PermissionUses {
                    permission: "env_read".to_owned(),
                    total: 2,
                    latest_unix_ms: 1_000,
                }],
            }],
        },
        ..Script::default()
    };
    for words in [
        &["env_read", "KEY", "--max-uses", "3"][..],
        &["network", "a.test", "--rate", "5"],
        &["file_read", "/srv/data"],
    ] {
        let args: Vec<&str> = ["grant", "add", TOOL]
            .iter()
            .chain(words)
            .copied()
            .collect();
        host.expect(&args, 0);
    }
    let broker = Broker::start(host.path("run/control.sock"), counted(true));
    let shown = host.expect(&["grant", "show", TOOL], 0);
    shown
        .says("`env_read` was used 2 of 3 times, last ")
        .says("`network` was used 0 times");
    assert!(!shown.stderr.contains("file_read"), "{}", shown.stderr);
    host.expect(&["grant", "reset", TOOL, "env_read"], 0)
        .prints("`env_read` of `default:tool:my_tool` is counted anew; it had 3 uses");
    let all = host
        .expect(&["grant", "reset", TOOL, "-o", "json"], 0)
        .json();
    assert_eq!(
        all,
        json!({"component": TOOL, "permission": null, "before": null})
    );
    for (words, code) in [
        (&["grant", "reset"][..], 2),
        (&["grant", "reset", "Default"], 2),
        (&["grant", "reset", TOOL, "../x"], 2),
        (&["grant", "reset", TOOL, "env_read", "KEY"], 2),
        (&["grant", "reset", "--help"], 0),
    ] {
        host.expect(words, code);
    }
    let asked = broker.asked();
    assert!(
        asked.contains(&format!("reset {TOOL} env_read")),
        "{asked:?}"
    );
    assert!(asked.contains(&format!("reset {TOOL} ")), "{asked:?}");
    broker.stop();
    std::fs::remove_file(host.path("run/control.sock")).unwrap();
    let damaged = Broker::start(host.path("run/control.sock"), counted(false));
    host.expect(&["grant", "show", TOOL], 0)
        .says("cannot be counted")
        .says("packctl grant reset default:tool:my_tool");
    damaged.stop();
    host.expect(&["grant", "reset", TOOL], 5);
}
