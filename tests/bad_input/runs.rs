//! executions.jsonl: one line for each run of foreign code.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use rumi_tests::{Broker, Home};
use serde_json::{Value, json};

fn lines(broker: &Broker) -> Vec<Value> {
    let found = walk(&broker.home().state())
        .into_iter()
        .find(|path| path.ends_with("executions.jsonl"))
        .unwrap();
    let mode = fs::metadata(&found).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(found).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn each_call_and_each_command_leaves_a_line_with_all_its_fields() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let container = broker.containers().pop().unwrap();
    let directory = broker.home().data("work");
    broker.grant(
        "probe:tool:do",
        &json!({"terminal": {"enabled": true, "directories": [directory], "allowed_commands": ["ls", "sleep", "cat"]}}),
    );
    let run = |argv: Value, kwargs: Value| {
        let mut named = json!({"directory": directory});
        named
            .as_object_mut()
            .unwrap()
            .extend(kwargs.as_object().unwrap().clone());
        broker.call(
            "probe:tool:do",
            &json!({"op": "run", "args": [argv], "kwargs": named}),
        )
    };
    run(json!(["ls"]), json!({})).data();
    run(json!(["cat", "absent"]), json!({}));
    run(json!(["sleep", "30"]), json!({"timeout_ms": 1000}));
    broker
        .call("probe:tool:other", &json!({"op": "sleep", "args": [30]}))
        .error();
    broker
        .call("probe:tool:do", &json!({"op": "chatter", "args": [3]}))
        .data();
    let mut all = Vec::new();
    rumi_tests::wait_for("lines", Duration::from_secs(5), || {
        all = lines(&broker);
        all.len() >= 7
    });
    assert_eq!(all.len(), 8, "{all:#?}");
    for line in &all {
        let fields: Vec<&str> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for field in [
            "timestamp",
            "container_id",
            "argv",
            "duration_ms",
            "exit_code",
            "truncated",
            "stopped_reason",
        ] {
            assert!(fields.contains(&field), "`{field}` is missing in {line}");
        }
        assert!(
            line["timestamp"]
                .as_u64()
                .is_some_and(|at| at > 1_600_000_000_000),
            "{line}"
        );
        assert!(
            line["container_id"]
                .as_str()
                .is_some_and(|id| id.len() == 64),
            "{line}"
        );
        assert!(!line["argv"].as_array().unwrap().is_empty(), "{line}");
    }
    let of = |first: &str| {
        let found = all.iter().find(|line| {
            line["argv"][0]
                .as_str()
                .is_some_and(|program| program.ends_with(first))
        });
        found.unwrap_or_else(|| panic!("no line of `{first}` in {all:#?}"))
    };
    let facts = |line: &Value| (line["exit_code"].clone(), line["stopped_reason"].clone());
    assert_eq!(of("ls")["exit_code"], 0);
    assert_ne!(
        of("ls")["container_id"],
        json!(container),
        "a command runs in its own sandbox"
    );
    assert_eq!(
        (&of("cat")["argv"], &of("cat")["exit_code"]),
        (&json!(["cat", "absent"]), &json!(1))
    );
    let (_, stopped) = facts(of("sleep"));
    assert_eq!(stopped, "timeout");
    assert!(
        of("sleep")["duration_ms"]
            .as_u64()
            .is_some_and(|took| (900..5000).contains(&took))
    );
    let calls: Vec<&Value> = all
        .iter()
        .filter(|line| line["container_id"] == json!(container))
        .collect();
    assert_eq!(calls.len(), 5);
    for call in &calls {
        assert!(
            call["argv"][1]
                .as_str()
                .is_some_and(|entry| entry.ends_with("probe.py")),
            "{call}"
        );
    }
    assert!(
        calls.iter().any(|call| call["truncated"] == true),
        "{calls:#?}"
    );
    assert!(
        calls.iter().any(|call| call["stopped_reason"] == "timeout"),
        "{calls:#?}"
    );
}
