//! packctl against a real broker: forms of its output, wrong words, nobody there.

use std::{fs, process::Command};

use rumi_tests::{Broker, Home, Output, shared};
use serde_json::{Value, json};

#[test]
fn wrong_words_exit_with_2_and_say_what_helps() {
    for (arguments, says) in [
        (&["buidl"][..], "`buidl`"),
        (&["grant", "remove"], "`remove`"),
        (&["ps", "--colour"], "--colour"),
        (&["ps", "-o", "xml"], "xml"),
        (&["call", "probe:tool:do", "--arg"], "--arg"),
        (&["call", "probe:tool:do", "--args", "{"], "--args"),
        (&["call", "probe:tool:do", "--args", "[]"], "object"),
        (&["call", "probe", "--args", "{}"], "`probe`"),
        (
            &["call", "probe:tool:do", "--args", "@/nonexistent.json"],
            "/nonexistent.json",
        ),
        (&["up", "Probe"], "`Probe`"),
        (&["up", "../probe"], "`../probe`"),
        (&["logs", "probe", "-n", "0"], "`0`"),
        (&["audit", "query", "--since", "yesterday"], "yesterday"),
        (&["audit", "query", "--decision", "maybe"], "maybe"),
        (&["completions", "tcsh"], "tcsh"),
    ] {
        let ended = shared().packctl(arguments).says(&[says, "hint: "]);
        let file = arguments.iter().any(|word| word.starts_with('@'));
        assert!(
            ended.code == 2 || (file && ended.code == 1),
            "{arguments:?}: {ended:?}"
        );
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn arguments_that_do_not_fit_the_schema_run_nothing_and_name_the_field() {
    for (arguments, says) in [
        ("{}", "op"),
        (r#"{"op": 7}"#, "op"),
        (r#"{"op": "echo", "more": 1}"#, "more"),
        (r#"{"op": "echo", "args": {}}"#, "args"),
    ] {
        let call = ["call", "probe:tool:do", "--args", arguments, "-o", "json"];
        let ended = shared().packctl(&call).exits(1).says(&[says]);
        assert!(ended.stdout.contains("invalid_arguments"), "{ended:?}");
    }
}

#[test]
fn a_broker_that_cannot_be_reached_is_exit_5_with_the_command_that_starts_it() {
    let home = Home::new();
    for arguments in [
        &["ps"][..],
        &["up"],
        &["down", "probe"],
        &["build", "probe"],
        &["stats"],
        &["logs", "probe"],
        &["call", "probe:tool:do", "--args", "{}"],
    ] {
        let ended = home.packctl(arguments).exits(5);
        ended.says(&[
            "control.sock",
            "hint: start it as root: ",
            "rumi-broker",
            "--home",
        ]);
    }
    // A socket that nobody listens on any more is the same.
    fs::create_dir_all(home.run()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(home.run().join("control.sock")).unwrap());
    home.packctl(&["ps"])
        .exits(5)
        .says(&["hint: start it as root: "]);
    // What needs no broker works without one.
    home.packctl(&["grant", "ls"]).ok();
    home.packctl(&["grant", "lint"]).ok();
}

#[test]
fn a_new_pack_works_at_once() {
    let broker = Broker::start(Home::new());
    let written = broker.must(&["init", "fresh", "-o", "json"]).json();
    assert_eq!(written["pack"], "fresh");
    broker.up(&["fresh"]);
    let answer = broker.must(&[
        "call",
        "fresh:tool:hello",
        "--args",
        r#"{"name": "you"}"#,
        "-o",
        "json",
    ]);
    assert!(answer.stdout.contains("Hello, you!"), "{answer:?}");
    // Denied first, then granted as the skeleton says.
    let file = broker.home().file("words/a.txt", "one two three");
    let args = json!({"file": file}).to_string();
    let call = ["call", "fresh:tool:hello", "--args", &args];
    broker
        .packctl(&call)
        .exits(3)
        .says(&["packctl grant add fresh:tool:hello file_read"]);
    let directory = file.parent().unwrap().to_str().unwrap();
    broker.must(&["grant", "add", "fresh:tool:hello", "file_read", directory]);
    let answer = broker.must(&call);
    assert!(answer.stdout.contains('3'), "{answer:?}");
    // A second one of that name is not written over the first.
    let code = broker.home().pack("fresh").join("main.py");
    fs::write(&code, "mine").unwrap();
    broker
        .packctl(&["init", "fresh"])
        .exits(1)
        .says(&["`fresh`", "nothing was changed", "hint: "]);
    assert_eq!(fs::read_to_string(code).unwrap(), "mine");
}

/// The three forms of one verb's output.
fn forms(broker: &Broker, arguments: &[&str]) -> (String, Vec<Value>) {
    let run = |form: &str| broker.must(&[arguments, &["-o", form]].concat()).stdout;
    let table = run("table");
    assert!(!table.contains('\u{1b}'), "{table:?}");
    let document: Value = serde_json::from_str(&run("json")).unwrap();
    let lines: Vec<Value> = run("jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let document = document.as_array().unwrap().clone();
    assert_eq!(document.len(), lines.len(), "{arguments:?}");
    for (one, other) in document.iter().zip(&lines) {
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(one), keys(other), "{arguments:?}");
    }
    (table, lines)
}

fn has(line: &Value, fields: &[&str]) {
    for field in fields {
        assert!(line.get(field).is_some(), "`{field}` is missing in {line}");
    }
}

#[test]
fn up_ps_stats_logs_and_down_print_tables_documents_and_lines() {
    let broker = Broker::start(Home::new());
    broker.home().write_pack(
        "second",
        "import sys\ndef run(args):\n    print('told', file=sys.stderr)\n    return 1\n",
    );
    let lifecycle = [
        "pack",
        "state",
        "changed",
        "image",
        "container",
        "duration_ms",
    ];

    let (table, lines) = forms(&broker, &["up", "--yes"]);
    assert!(
        table.starts_with("PACK ") && table.contains("\nsecond "),
        "{table}"
    );
    let packs: Vec<&str> = lines
        .iter()
        .map(|line| line["pack"].as_str().unwrap())
        .collect();
    assert_eq!(packs, ["probe", "second"]);
    lines.iter().for_each(|line| has(line, &lifecycle));
    assert_eq!(lines[0]["state"], "up already");

    let (table, lines) = forms(&broker, &["ps"]);
    assert!(
        table.contains("probe:tool:do") && table.contains("attached"),
        "{table}"
    );
    has(
        &lines[0],
        &[
            "pack",
            "state",
            "started",
            "container",
            "image",
            "message",
            "components",
        ],
    );
    has(
        &lines[0]["components"][0],
        &["component", "uid", "worker_attached", "spares", "calls"],
    );
    assert_eq!(lines[0]["state"], "running");
    assert_eq!(forms(&broker, &["ps", "second"]).1.len(), 1);

    let (table, lines) = forms(&broker, &["stats"]);
    assert!(table.contains("256.0 MiB"), "{table}");
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["memory_limit_bytes"], 256 << 20);
        assert_eq!(line["pids_limit"], 100);
        assert!(
            line["memory_bytes"].as_u64().is_some_and(|used| used > 0),
            "{line}"
        );
        has(line, &["pack", "memory_peak_bytes", "cpu_usage_ns", "pids"]);
    }

    let container = broker.ps()[0].container_id.clone();
    crate::doctor::say_in(&container, "one\ntwo\nthree\n");
    let (table, lines) = forms(&broker, &["logs", "probe", "-n", "2"]);
    assert_eq!(lines.len(), 2, "{table}");
    assert_eq!(
        (&lines[0]["line"], &lines[1]["line"]),
        (&json!("two"), &json!("three"))
    );
    assert_eq!(lines[0]["stream"], "stderr");
    assert!(table.contains(" stderr three"), "{table}");
    has(&lines[0], &["time", "component"]);

    let (_, lines) = forms(&broker, &["down", "second"]);
    lines.iter().for_each(|line| has(line, &lifecycle));
    assert_eq!(lines[0]["state"], "down already");
    assert_eq!(broker.containers().len(), 1);
    broker.must(&["down"]);
    assert!(broker.containers().is_empty());
    assert!(
        broker
            .must(&["stats", "-o", "json"])
            .json()
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn progress_is_not_mixed_with_data() {
    let broker = Broker::start(Home::new());
    let built = broker.must(&["build", "probe", "--yes", "-o", "jsonl"]);
    assert_eq!(built.stdout.lines().count(), 1);
    assert!(built.stderr.contains("probe: "), "{built:?}");
}

#[test]
fn completions_are_read_by_the_shells_themselves() {
    let home = Home::new();
    for (shell, check) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
    ] {
        let script = home.packctl(&["completions", shell]).ok().stdout;
        let path = home.file(&format!("completions.{shell}"), &script);
        let mut checked = Command::new(check[0]);
        let checked = Output::of(checked.args(&check[1..]).arg(&path)).ok();
        assert_eq!(checked.text(), "", "{shell}");
        for verb in ["init", "build", "up", "call", "grant", "audit", "doctor"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
        // The check itself must be able to fail.
        let broken = home.file(&format!("broken.{shell}"), format!("{script}\nif ( {{ '\n"));
        let mut failing = Command::new(check[0]);
        assert_ne!(
            Output::of(failing.args(&check[1..]).arg(broken)).code,
            0,
            "{shell}"
        );
    }
    // bash goes further: it completes a verb.
    let script = home.data("").join("completions.bash");
    let complete = format!(
        "source {}; COMP_WORDS=(packctl do); COMP_CWORD=1; _packctl packctl do packctl; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let completed = Output::of(Command::new("bash").args(["--norc", "-c", &complete])).ok();
    assert_eq!(completed.stdout.trim(), "down doctor");
}
