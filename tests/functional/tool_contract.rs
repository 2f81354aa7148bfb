//! What a call of a tool answers, whatever the tool does.

use std::{
    fs,
    time::{Duration, Instant},
};

use rumi_tests::{Called, shared};
use serde_json::{Value, json};

const OTHER: &str = "probe:tool:other";

fn other(op: &str, args: &Value) -> Called {
    shared().call(OTHER, &json!({"op": op, "args": args}))
}

/// What another call left must not matter to the next.
fn still_answers() {
    assert_eq!(other("echo", &json!(["still here"])).data(), "still here");
}

#[test]
fn what_a_tool_returns_is_wrapped_unless_it_is_a_result_already() {
    let cases = [
        ("none", json!({"ok": true, "data": null})),
        ("text", json!({"ok": true, "data": "text"})),
        ("list", json!({"ok": true, "data": [1, 2]})),
        ("dict", json!({"ok": true, "data": {"a": 1}})),
        ("ok_alone", json!({"ok": true, "data": {"ok": true}})),
        (
            "ok_text",
            json!({"ok": true, "data": {"ok": "yes", "data": 1}}),
        ),
        ("ok_data", json!({"ok": true, "data": 5})),
        (
            "ok_error",
            json!({"ok": false, "error": {"message": "mine", "type": "own"}}),
        ),
    ];
    for (kind, expected) in cases {
        let called = other("raw", &json!([kind]));
        assert_eq!(called.result, expected, "{kind}");
        assert_eq!(called.response.stopped_reason, "exited", "{kind}");
    }
}

#[test]
fn what_json_cannot_hold_is_an_error_of_its_own_type() {
    for kind in [
        "set",
        "nan",
        "infinity",
        "keys",
        "loop",
        "bytes",
        "surrogate",
    ] {
        let called = other("raw", &json!([kind]));
        assert_eq!(called.error_type(), "unserializable", "{kind}");
        let message = &called.error()["message"];
        assert!(
            message.as_str().is_some_and(|text| !text.is_empty()),
            "{kind}"
        );
    }
}

#[test]
fn an_exception_is_an_error_with_its_type_and_message() {
    for kind in ["ValueError", "SystemExit", "KeyboardInterrupt"] {
        let called = other("fail", &json!([kind, "because"]));
        let expected = json!({"message": "because", "type": kind});
        assert_eq!(called.error(), &expected, "{kind}");
    }
    let called = other("read_file", &json!(["/nowhere/granted"]));
    assert_eq!(called.error_type(), "Denied");
    assert_eq!(called.error()["reason"], "no_grant");
    let record = called.error()["record"].as_str().unwrap();
    let denials = &called.response.denials;
    assert_eq!(denials.len(), 1);
    assert_eq!(
        (denials[0].record.as_str(), denials[0].reason.as_str()),
        (record, "no_grant")
    );
    assert!(
        denials[0]
            .remedy
            .starts_with("packctl grant add probe:tool:other file_read /nowhere"),
        "{denials:?}"
    );
    let invocation = called.response.invocation.as_str();
    assert_eq!(shared().records_of(record)[0]["invocation"], invocation);
}

#[test]
fn arguments_that_the_schema_refuses_start_nothing() {
    let cases = [
        ("{}", "op"),
        (r#"{"op": 1}"#, "op"),
        (r#"{"op": "pid", "args": {}}"#, "args"),
        (r#"{"op": "pid", "extra": 1}"#, "extra"),
        ("[]", "object"),
        ("nonsense", "JSON"),
        ("", "JSON"),
    ];
    for (args, field) in cases {
        let called = shared().try_call("probe:tool:do", args, 0).unwrap();
        assert_eq!(called.error_type(), "invalid_arguments", "{args}");
        let message = called.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(field), "{args}: {message}");
        assert_eq!(called.response.stopped_reason, "not_started", "{args}");
        // A call that begins has an identifier, and the log has a record of it.
        assert_eq!(called.response.invocation, "", "{args}");
    }
}

#[test]
fn what_is_not_there_to_call_is_not_found() {
    for (component, code) in [
        ("probe:tool:nobody", tonic::Code::NotFound),
        ("nobody:tool:x", tonic::Code::NotFound),
        ("nonsense", tonic::Code::InvalidArgument),
        ("probe:service:do", tonic::Code::FailedPrecondition),
    ] {
        let refused = shared().try_call(component, "{}", 0).unwrap_err();
        assert_eq!(refused.code(), code, "{component}: {refused}");
    }
}

#[test]
fn a_tool_that_does_not_answer_in_time_is_ended() {
    for (op, args) in [("sleep", json!([60])), ("spin", json!([]))] {
        let started = Instant::now();
        let called = other(op, &args);
        let took = started.elapsed();
        assert_eq!(called.error_type(), "timeout", "{op}");
        assert_eq!(called.response.stopped_reason, "timeout", "{op}");
        assert!(
            took > Duration::from_secs(2) && took < Duration::from_secs(30),
            "{op}: {took:?}"
        );
    }
    let started = Instant::now();
    let called = shared()
        .try_call(OTHER, r#"{"op": "sleep", "args": [60]}"#, 300)
        .unwrap();
    assert_eq!(called.error_type(), "timeout");
    rumi_tests::in_time(started, Duration::from_millis(300));
    still_answers();
}

#[test]
fn a_tool_that_wants_too_much_memory_is_ended_and_what_it_used_is_told() {
    let called = other("hoard", &json!([200]));
    assert!(
        ["memory", "MemoryError"].contains(&called.error_type()),
        "{called:?}"
    );
    let called = other("hoard", &json!([20]));
    assert_eq!(called.data(), 20 << 20);
    let peak = called.response.memory_peak_bytes;
    assert!((20 << 20..64 << 20).contains(&peak), "{peak}");
    still_answers();
}

#[test]
fn what_a_tool_prints_is_caught_and_cut() {
    let called = other("say", &json!(["to stdout", "to stderr"]));
    assert_eq!(called.response.stdout, "to stdout\n");
    assert_eq!(called.response.stderr, "to stderr\n");
    assert!(!called.response.truncated);
    // A child's output belongs to the call as well.
    let called = other(
        "spawn",
        &json!([["/bin/sh", "-c", "echo from a child >&2"]]),
    );
    assert_eq!(called.response.stderr, "from a child\n");
}

#[test]
fn a_tool_that_prints_gigabytes_costs_no_more_than_its_limit() {
    for to in ["stdout", "stderr"] {
        let args = json!({"op": "chatter", "args": [2048, to]}).to_string();
        let started = Instant::now();
        let called = shared().try_call("probe:tool:do", &args, 0).unwrap();
        let kept = called.response.stdout.len() + called.response.stderr.len();
        assert!(kept <= 1 << 20, "{kept}");
        assert!(
            called.response.truncated || called.error_type() == "timeout",
            "{called:?}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(40),
            "{:?}",
            started.elapsed()
        );
    }
    assert_eq!(shared().probe("echo", &json!([1])).data(), 1);
}

#[test]
fn a_tool_that_dies_ends_only_its_own_call() {
    for (op, args) in [
        ("exit", json!([0])),
        ("exit", json!([3])),
        ("segfault", json!([])),
    ] {
        let called = other(op, &args);
        assert_eq!(called.error_type(), "crashed", "{op}: {called:?}");
        assert_eq!(called.response.stopped_reason, "crashed");
        still_answers();
    }
}

#[test]
fn what_a_call_forked_ends_with_the_call() {
    let called = other("forks", &json!([6]));
    assert!(called.data().is_u64());
    let left = shared().call(OTHER, &json!({"op": "processes"}));
    let names = left.data().as_array().unwrap().clone();
    // The worker, its interpreter and spares stay; six detached sleepers must not.
    assert!(names.len() < 12, "{names:?}");
    let container = shared().containers().pop().unwrap();
    let top = rumi_tests::run(std::process::Command::new("docker").args([
        "top",
        &container,
        "-o",
        "pid,ppid,args",
    ]));
    let runners = top
        .stdout
        .lines()
        .filter(|line| line.contains("rumi_runner"))
        .count();
    assert!(runners <= 6, "{}", top.stdout);
}

#[test]
fn a_tool_that_kills_its_own_worker_is_answered_again_soon() {
    for _ in 0..2 {
        // Whatever the answer is, there is one.
        other("kill_own", &json!([]));
        rumi_tests::within(
            Duration::from_secs(8),
            "an answer after the worker died",
            || {
                let args = r#"{"op": "echo", "args": ["again"]}"#;
                shared()
                    .try_call(OTHER, args, 0)
                    .is_ok_and(|called| called.result["data"] == "again")
            },
        );
    }
    assert_eq!(
        shared().probe("echo", &json!(["unharmed"])).data(),
        "unharmed"
    );
}

#[test]
fn files_that_a_call_leaves_in_tmp_are_gone_for_the_next_one_of_its_component() {
    other("local", &json!(["/tmp/left", "secret"])).data();
    rumi_tests::eventually("an empty /tmp", || {
        !other("listdir", &json!(["/tmp"]))
            .data()
            .to_string()
            .contains("left")
    });
}

#[test]
fn the_work_area_outlives_a_call_and_the_code_cannot_be_changed() {
    other("local", &json!(["/workspace/kept", "kept"])).data();
    assert_eq!(other("local", &json!(["/workspace/kept"])).data(), "kept");
    for path in [
        "/opt/pack/probe.py",
        "/etc/x",
        "/run/rumi/x",
        "/usr/lib/rumi/python/rumi_runner.py",
    ] {
        let called = other("local", &json!([path, "x"]));
        assert!(
            ["PermissionError", "OSError"].contains(&called.error_type()),
            "{path}: {called:?}"
        );
    }
}

#[test]
fn each_call_leaves_a_line_among_the_executions() {
    let called = other("echo", &json!([1]));
    let path = shared().home().state().join("log/executions.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .rfind(|line| line["component"] == OTHER)
        .unwrap();
    assert_eq!(line["stopped_reason"], "exited");
    assert_eq!(line["truncated"], false);
    assert_eq!(line["container_id"].as_str().unwrap().len(), 64);
    assert_eq!(line["argv"][1], "/opt/pack/probe.py");
    assert!(
        line["timestamp"].is_u64() && line["duration_ms"].is_u64(),
        "{line}"
    );
    assert!(called.response.duration_us > 0);
}

#[test]
fn calls_at_once_are_all_answered_with_their_own_answers() {
    std::thread::scope(|scope| {
        for number in 0..12 {
            scope.spawn(move || {
                let called = shared().probe("echo", &json!([number]));
                assert_eq!(called.data(), number);
            });
        }
    });
}
