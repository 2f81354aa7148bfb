//! Packs that cannot be used as they are.

use rumi_tests::{Broker, Home, shared};
use serde_json::{Value, json};

/// A change to a manifest that was good, and what must be said about it.
type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "unknown",
        |m| m["colour"] = json!("red"),
        &["`colour`", "unknown"],
    ),
    (
        "unknown_deep",
        |m| m["components"][0]["colour"] = json!("red"),
        &["components[0].colour", "unknown"],
    ),
    (
        "unknown_limit",
        |m| m["limits"] = json!({"memory": 1}),
        &["limits.memory"],
    ),
    (
        "no_version",
        |m| drop(m.as_object_mut().unwrap().remove("version")),
        &["`version`", "missing"],
    ),
    (
        "other_id",
        |m| m["id"] = json!("another"),
        &["`another`", "other_id"],
    ),
    (
        "foreign",
        |m| m["components"][0]["id"] = json!("default:tool:run"),
        &["components[0].id"],
    ),
    (
        "runner",
        |m| m["components"][0]["runner"] = json!("perl"),
        &["`runner` of `runner:tool:run`", "perl", "python"],
    ),
    (
        "runner_name",
        |m| m["components"][0]["runner"] = json!("Perl 5"),
        &["components[0].runner", "Perl 5"],
    ),
    (
        "entry",
        |m| m["components"][0]["entry"] = json!("absent.py"),
        &["`entry`", "`absent.py`", "no file of the pack"],
    ),
    (
        "entry_outside",
        |m| m["components"][0]["entry"] = json!("../probe/probe.py"),
        &["components[0].entry", "../probe/probe.py"],
    ),
    (
        "entry_absent",
        |m| drop(m["components"][0].as_object_mut().unwrap().remove("entry")),
        &["components[0].entry", "missing"],
    ),
    (
        "none",
        |m| m["components"] = json!([]),
        &["`components`", "1 to 64 components"],
    ),
    (
        "twice",
        |m| m["components"] = json!([m["components"][0], m["components"][0]]),
        &["components[1].id", "twice"],
    ),
    (
        "schema",
        |m| m["components"][0]["schema"] = json!({"type": "nonsense"}),
        &["`schema`", "nonsense"],
    ),
    (
        "schema_text",
        |m| m["components"][0]["schema"] = json!("object"),
        &["components[0].schema"],
    ),
    (
        "memory",
        |m| m["components"][0]["memory_mb"] = json!(-5),
        &["components[0].memory_mb", "whole number"],
    ),
    (
        "wishes",
        |m| m["requests"] = json!({"wishes:tool:run": {"Flying": {}}}),
        &["Flying"],
    ),
    (
        "wishes_for_another",
        |m| m["requests"] = json!({"probe:tool:do": {"env_read": {"keys": []}}}),
        &["probe:tool:do", "no such component"],
    ),
    (
        "requirements_absent",
        |m| m["requirements"] = json!("absent.txt"),
        &["absent.txt", "does not exist"],
    ),
];

#[test]
fn an_invalid_manifest_is_named_with_its_field_and_nothing_of_it_starts() {
    let broker = Broker::start(Home::new());
    for (id, change, says) in CASES {
        broker
            .home()
            .write_pack(id, "def run(args):\n    return 1\n");
        let mut manifest = Home::manifest(id);
        change(&mut manifest);
        broker.home().write_manifest(id, &manifest);
        for verb in ["build", "up"] {
            let ended = broker.packctl(&[verb, id]).exits(1).says(says);
            ended.says(&[&format!("pack `{id}`"), &format!("packs/{id}/"), "hint: "]);
        }
        broker.packctl(&["doctor"]).exits(1).says(says);
        std::fs::remove_dir_all(broker.home().pack(id)).unwrap();
    }
    assert!(broker.containers().is_empty());
    // Those beside them are none the worse.
    broker.up(&["probe"]);
    assert_eq!(broker.probe("echo", &json!([1])).data(), &json!(1));
}

#[test]
fn a_manifest_that_is_no_json_is_named_with_its_line() {
    let broker = shared();
    for (id, text, says) in [
        ("comma", "{\n  \"id\": \"comma\",,\n}", "line 2"),
        ("cut", "{\n  \"id\": \"cut\"", "line 2"),
        ("empty", "", "empty"),
        (
            "two_keys",
            "{\n  \"id\": \"two_keys\",\n  \"id\": \"two_keys\"\n}",
            "`id`",
        ),
        ("list", "[]", "object"),
    ] {
        broker
            .home()
            .write_file(&format!("docker/packs/{id}/pack.json"), text);
        broker.packctl(&["up", id]).exits(1).says(&[
            &format!("docker/packs/{id}/pack.json"),
            says,
            "hint: ",
        ]);
        std::fs::remove_dir_all(broker.home().pack(id)).unwrap();
    }
}

#[test]
fn a_missing_pack_or_component_is_named_with_what_helps() {
    let broker = shared();
    for verb in ["build", "up"] {
        broker
            .packctl(&[verb, "absent"])
            .exits(4)
            .says(&["there is no pack `absent`", "packctl init absent"]);
    }
    for (arguments, says) in [
        (&["call", "absent:tool:run", "--args", "{}"][..], "packctl"),
        (&["call", "probe:tool:absent", "--args", "{}"], "packctl"),
        (&["logs", "absent"], "packctl up absent"),
    ] {
        broker.packctl(arguments).exits(4).says(&["absent", says]);
    }
    let known = broker.ps();
    assert!(known.iter().all(|pack| pack.pack != "absent"), "{known:?}");
}

#[test]
fn a_tool_whose_module_cannot_be_loaded_says_so_at_each_call() {
    let broker = Broker::start(Home::new());
    for (id, source, says) in [
        ("syntax", "def run(args:\n", "SyntaxError"),
        (
            "import",
            "import absent_module\ndef run(args):\n    pass\n",
            "ModuleNotFoundError",
        ),
        ("no_run", "def walk(args):\n    pass\n", "run"),
        ("crash", "raise ValueError('at load')\n", "ValueError"),
    ] {
        broker.home().write_pack(id, source);
        broker.up(&[id]);
        for _ in 0..2 {
            let ended = broker.packctl(&["call", &format!("{id}:tool:run"), "--args", "{}"]);
            ended.exits(1).says(&[says]);
        }
        broker.must(&["down", id]);
    }
}
