//! The same contract for every runner: one tool in each language, doing what the test says.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Called, Home};
use serde_json::{Value, json};

/// Each has the same operations.
const ALL: [&str; 3] = ["python", "javascript", "bash"];

fn world() -> &'static Broker {
    static WORLD: OnceLock<Broker> = OnceLock::new();
    WORLD.get_or_init(start)
}

fn start() -> Broker {
    let home = Home::new();
    home.take_pack("tests/packs/runners");
    home.configure(|config| {
        config["runners"] = json!({"plain-sh": {"command": ["/bin/sh", "-eu", "{entry}"]}});
    });
    let broker = Broker::start(home);
    broker.up(&["runners"]);
    broker
}

fn call(tool: &str, args: &Value) -> Called {
    world().call(&format!("runners:tool:{tool}"), args)
}

/// Whatever the call before did, the next is answered.
fn still_answers(tool: &str) {
    let args = json!({"still": "here"});
    assert_eq!(call(tool, &args).data(), &args, "{tool}");
}

fn message(called: &Called) -> &str {
    called.error()["message"].as_str().unwrap_or_default()
}

#[test]
fn every_runner_is_given_the_arguments_and_answers() {
    let args = json!({"text": "a \"b\"\n'$HOME' é", "number": 1.5, "list": [1, {"a": null}]});
    for tool in ALL {
        let called = call(tool, &args);
        assert_eq!(called.data(), &args, "{tool}");
        assert_eq!(called.response.stopped_reason, "exited");
        assert!(called.response.memory_peak_bytes > 0, "{tool}");
    }
    let module = call("module", &json!({"a": 1}));
    assert_eq!(module.data(), &json!({"text": "here", "args": {"a": 1}}));
    let plain = call("plain", &json!({"name": "world"}));
    let expected = json!({"greeting": "Hello, world!", "file": "/opt/pack/plain.sh"});
    assert_eq!(plain.data(), &expected);
    assert_eq!(
        message(&call("plain", &json!({}))),
        "the tool ended with exit code 2: /opt/pack/plain.sh: 1: ARG_NAME: parameter not set"
    );
}

#[test]
fn every_runner_has_the_settings_of_its_component() {
    for tool in ALL {
        let called = call(tool, &json!({"op": "settings"}));
        let expected = json!(["green", "/opt/pack/data", "here"]);
        assert_eq!(called.data(), &expected, "{tool}");
    }
}

#[test]
fn stdout_and_stderr_are_kept_apart_and_cut() {
    for tool in ALL {
        let called = call(tool, &json!({"op": "print"}));
        assert_eq!(called.data(), &Value::Null, "{tool}");
        assert_eq!(called.response.stdout, "to stdout\n", "{tool}");
        assert_eq!(called.response.stderr, "to stderr\n", "{tool}");
        assert!(!called.response.truncated);
        let called = call(tool, &json!({"op": "flood"}));
        assert_eq!(called.result["ok"], true, "{tool}");
        assert_eq!(called.response.stdout.len(), 1 << 20, "{tool}");
        assert_eq!(called.response.stderr.len(), 1 << 20, "{tool}");
        assert!(called.response.truncated);
    }
}

#[test]
fn every_runner_says_what_went_wrong() {
    for (tool, kind, text) in [
        ("python", "ValueError", "because"),
        ("javascript", "TypeError", "because"),
        ("bash", "exit", "the tool ended with exit code 7: because"),
    ] {
        let called = call(tool, &json!({"op": "fail"}));
        assert_eq!(called.error(), &json!({"type": kind, "message": text}));
        assert!(called.response.stderr.contains("because"), "{tool}");
        assert_eq!(called.response.stopped_reason, "exited");
        still_answers(tool);
    }
    for (tool, kind, text) in [
        ("python", "ModuleNotFoundError", "requirements"),
        ("javascript", "Error", "node_modules"),
        ("bash", "exit", "no_such_program: command not found"),
    ] {
        let called = call(tool, &json!({"op": "missing"}));
        assert_eq!(called.error_type(), kind);
        assert!(message(&called).contains(text), "{called:?}");
    }
    for tool in ALL {
        let called = call(tool, &json!({"op": "exit"}));
        assert_eq!(called.error_type(), "crashed", "{tool}: {called:?}");
        assert_eq!(called.response.stopped_reason, "crashed");
        still_answers(tool);
    }
}

/// A warm parent serves all of these calls, and each of them is the first of its process.
#[test]
fn no_state_survives_from_one_call_to_the_next_in_any_runner() {
    // Calls that run beside one another share /tmp, and the other tests call as well.
    let own = start();
    let call = |tool: &str, args: &Value| own.call(&format!("runners:tool:{tool}"), args);
    for tool in ALL {
        let look = || call(tool, &json!({"op": "look"})).data().clone();
        let fresh = look();
        assert_eq!(fresh["file"], false, "{tool}");
        assert_eq!(fresh["processes"], 0, "{tool}");
        assert_eq!(fresh["directory"], "/opt/pack/data", "{tool}");
        for _ in 0..3 {
            // Globals, modules, a file, the environment, the directory, open files, threads or timers,
            // handlers for the end, and processes in sessions of their own.
            let left = call(tool, &json!({"op": "leave"}));
            assert_eq!(left.data(), &fresh, "{tool}");
            assert_eq!(look(), fresh, "{tool}");
        }
    }
}

#[test]
fn promises_that_nobody_settles_and_errors_that_come_later_are_answers() {
    let later = call("javascript", &json!({"op": "later"}));
    assert_eq!(
        later.error(),
        &json!({"type": "RangeError", "message": "later"})
    );
    let never = call("javascript", &json!({"op": "never"}));
    assert!(message(&never).contains("promise"), "{never:?}");
}

#[test]
fn every_runner_is_held_to_its_time_and_the_error_names_the_setting() {
    for tool in ALL {
        let started = Instant::now();
        let called = call(tool, &json!({"op": "spin"}));
        assert_eq!(called.error_type(), "timeout", "{tool}");
        assert!(message(&called).contains("`timeout_ms`"), "{called:?}");
        assert!(started.elapsed() < Duration::from_secs(30), "{tool}");
        still_answers(tool);
    }
}

#[test]
fn what_a_tool_printed_until_its_time_was_up_is_kept() {
    for tool in ALL.into_iter().rev() {
        let called = call(tool, &json!({"op": "last words"}));
        assert_eq!(called.error_type(), "timeout", "{tool}");
        assert_eq!(called.response.stdout, "said on stdout\n", "{tool}");
        assert_eq!(called.response.stderr, "said on stderr\n", "{tool}");
        still_answers(tool);
    }
}

#[test]
fn every_runner_is_held_to_its_memory_and_the_error_says_how_much_was_used() {
    for (tool, op) in [
        ("python", "hoard"),
        ("javascript", "hoard"),
        ("javascript", "buffers"),
        ("bash", "hoard"),
    ] {
        let called = call(tool, &json!({"op": op}));
        // A bash that is refused memory by the kernel may have the time to say so itself.
        assert_eq!(called.error_type(), "memory", "{tool} {op}: {called:?}");
        assert_eq!(called.response.stopped_reason, "memory", "{tool}");
        let text = message(&called);
        assert!(
            text.contains("96 MB") && text.contains("`memory_mb`"),
            "{text}"
        );
        let used = called.response.memory_peak_bytes.div_ceil(1 << 20);
        assert!(text.contains(&format!("used {used} MB")), "{text}");
        still_answers(tool);
    }
}

#[test]
fn what_javascript_returns_is_wrapped_and_what_json_would_bend_is_refused() {
    for (kind, expected) in [
        ("none", json!({"ok": true, "data": null})),
        ("text", json!({"ok": true, "data": "text"})),
        ("ok_data", json!({"ok": true, "data": 5})),
        (
            "ok_error",
            json!({"ok": false, "error": {"message": "mine", "type": "own"}}),
        ),
        (
            "ok_text",
            json!({"ok": true, "data": {"ok": "yes", "data": 1}}),
        ),
        (
            "date",
            json!({"ok": true, "data": "1970-01-01T00:00:00.000Z"}),
        ),
        ("escaped", json!({"ok": true, "data": "\\ud800 😀"})),
    ] {
        let called = call("javascript", &json!({"op": "raw", "kind": kind}));
        assert_eq!(called.result, expected, "{kind}");
    }
    for kind in ["nan", "big", "map", "half", "loop", "deep"] {
        let called = call("javascript", &json!({"op": "raw", "kind": kind}));
        assert_eq!(called.error_type(), "unserializable", "{kind}: {called:?}");
    }
    let large = call("javascript", &json!({"op": "raw", "kind": "large"}));
    assert_eq!(large.error_type(), "result_too_large");
    still_answers("javascript");
}

#[test]
fn what_bash_writes_is_wrapped_unless_it_is_a_result_already() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (text, expected) in [
        ("", json!({"ok": true, "data": null})),
        ("plain text", json!({"ok": true, "data": "plain text"})),
        ("[1, 2]", json!({"ok": true, "data": [1, 2]})),
        (r#"{"ok": true, "data": 5}"#, json!({"ok": true, "data": 5})),
    ] {
        let called = call("bash", &json!({"op": "raw", "text": text}));
        assert_eq!(called.result, expected, "{text}");
    }
    for text in [r#"{"a": }"#, "{} {}", &deep] {
        let called = call("bash", &json!({"op": "raw", "text": text}));
        assert_eq!(called.error_type(), "unserializable", "{text}");
    }
}

#[test]
fn invalid_arguments_are_named_by_a_json_pointer() {
    let home = world().home();
    home.write_pack("pointed", "def run(args):\n    return args\n");
    let mut manifest = Home::manifest("pointed");
    manifest["components"][0]["schema"] = json!({
        "properties": {"list": {"items": {"properties": {"a/b": {"type": "string"}}}}},
        "required": ["list"],
    });
    home.write_manifest("pointed", &manifest);
    world().up(&["pointed"]);
    let refused = world().call("pointed:tool:run", &json!({"list": [{}, {"a/b": 1}]}));
    assert_eq!(refused.error_type(), "invalid_arguments");
    assert!(message(&refused).contains("`/list/1/a~1b`"), "{refused:?}");
}

#[test]
fn what_cannot_run_is_refused_when_the_pack_comes_up_with_the_remedy() {
    let home = world().home();
    for (id, change, named) in [
        (
            "oldest",
            json!({"python_path": "/usr/bin/python3.6"}),
            ["`python_path`", "/usr/bin/python3.6", "Python 3.7 or later"],
        ),
        (
            "nopython",
            json!({"python_path": "/bin/true"}),
            ["`python_path`", "/bin/true", "Python 3.7 or later"],
        ),
        (
            "unknown",
            json!({"runner": "cobol"}),
            ["`cobol`", "`plain-sh`", "`runners` in docker/config.json"],
        ),
    ] {
        home.write_pack(id, "def run(args):\n    return args\n");
        let mut manifest = Home::manifest(id);
        if let (Some(component), Some(change)) = (
            manifest["components"][0].as_object_mut(),
            change.as_object(),
        ) {
            component.extend(change.clone());
        }
        home.write_manifest(id, &manifest);
        let up = world().packctl(&["up", "--yes", id]);
        assert_ne!(up.code, 0, "{id}: {up:?}");
        for text in named {
            assert!(up.stderr.contains(text), "{id}: {text}: {}", up.stderr);
        }
    }
    let mut manifest = Home::manifest("oldest");
    manifest["id"] = json!("nonode");
    manifest["base"] = json!("base");
    manifest["components"][0]["id"] = json!("nonode:tool:run");
    manifest["components"][0]["runner"] = json!("javascript");
    manifest["components"][0]["entry"] = json!("tool.js");
    home.write_file("docker/packs/nonode/tool.js", "exports.run = () => 1;\n");
    home.write_manifest("nonode", &manifest);
    let up = world().packctl(&["up", "--yes", "nonode"]);
    assert!(up.stderr.contains(r#""base": "node""#), "{up:?}");
}

/// An interpreter that says it is older than the runner is written for.
const OLDER_PYTHON: &str = r#"#!/usr/bin/python3 -IS
import sys

sys.version_info = (3, 6, 15, "final", 0)
sys.argv = [name for name in sys.argv[1:] if not name.startswith("-")]
with open(sys.argv[0]) as program:
    exec(compile(program.read(), sys.argv[0], "exec"))
"#;

#[test]
fn a_python_that_is_too_old_is_refused_by_its_version_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = world().home();
    home.write_pack("older", "def run(args):\n    return args\n");
    home.write_file("docker/packs/older/python3.6", OLDER_PYTHON);
    let program = home.pack("older").join("python3.6");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut manifest = Home::manifest("older");
    manifest["components"][0]["python_path"] = json!("/opt/pack/python3.6");
    home.write_manifest("older", &manifest);
    let up = world().packctl(&["up", "--yes", "older"]);
    assert_ne!(up.code, 0, "{up:?}");
    for text in [
        "`older:tool:run` cannot run: `python_path` names `/opt/pack/python3.6`",
        "it is Python 3.6, and tools need Python 3.7 or later",
        "let `python_path` name Python 3.7 or later in the pack's image",
    ] {
        assert!(up.stderr.contains(text), "{text}: {}", up.stderr);
    }
}

#[test]
fn the_brokers_environment_gives_python_its_defaults() {
    let home = Home::new();
    let source = "import time, sys\ndef run(args):\n    time.sleep(args.get('s', 0))\n    return sys.executable\n";
    home.write_pack("plainpy", source);
    // A second name of the same interpreter, as an image may have several.
    let path = "/usr/bin/python3";
    let environment = [
        ("PYTHON_PATH", path),
        ("PYTHON_TIMEOUT_MS", "1500"),
        ("PYTHON_MAX_MEMORY_MB", "48"),
    ];
    let broker = Broker::start_with(home, &environment);
    broker.up(&["plainpy"]);
    assert_eq!(broker.call("plainpy:tool:run", &json!({})).data(), path);
    let slow = broker.call("plainpy:tool:run", &json!({"s": 20}));
    assert!(message(&slow).contains("1500 ms"), "{slow:?}");
}
