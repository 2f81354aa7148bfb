//! `packctl tool`: tools of one file each, which are packs of their own.

use std::fs;

use rumi_tests::{Broker, Home, Output};
use serde_json::{Value, json};

const COMPONENT: &str = "tool-echo:tool:echo";

/// A broker and what is called of it; each test has its own, for all of them change packs.
fn broker() -> Broker {
    Broker::start(Home::new())
}

fn add(broker: &Broker, more: &[&str]) -> Output {
    let arguments: Vec<&str> = ["tool", "add", "echo"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    broker.packctl(&arguments)
}

fn approvals(broker: &Broker) -> Vec<Value> {
    let approve = |record: &Value| record["action"] == "approve";
    broker.audit().into_iter().filter(approve).collect()
}

#[test]
fn a_tool_is_added_from_a_string_called_replaced_and_removed() {
    let broker = broker();
    let home = broker.home();
    let schema = home.file("echo.json", json!({"required": ["say"]}).to_string());
    let schema = ["--schema", schema.to_str().unwrap()];
    let code = "def run(args):\n    return args['say']\n";
    let arguments = [
        "tool", "add", "echo", "--runner", "python", "-o", "json", "-",
    ];
    let arguments: Vec<&str> = arguments.into_iter().chain(schema).collect();
    let added = home.packctl_fed(&arguments, code).ok().json();
    assert_eq!(added["component"], COMPONENT);
    assert_eq!(added["replaced"], false);
    // It is the admin's approval, of exactly these files, and is found in the log.
    let records = approvals(&broker);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["id"], added["record"]);
    assert_eq!(records[0]["target"], "tool-echo");
    assert_eq!(records[0]["detail"]["digest"], added["digest"]);
    assert_eq!(broker.call(COMPONENT, &json!({"say": 1})).data(), 1);
    let refused = broker.call(COMPONENT, &json!({}));
    assert_eq!(refused.error_type(), "invalid_arguments");
    let row = &broker.must(&["tool", "ls", "-o", "json"]).json()[0];
    for (key, value) in [
        ("name", json!("echo")),
        ("component", json!(COMPONENT)),
        ("runner", json!("python")),
        ("state", json!("running")),
        ("calls", json!(1)),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    let shown = broker.must(&["tool", "show", "echo", "-o", "json"]).json();
    assert_eq!(shown["code"], code);
    assert_eq!(shown["schema"], json!({"required": ["say"]}));
    broker
        .must(&["tool", "show", COMPONENT])
        .says(&["running, 1 call", "    return args['say']"]);
    // Nothing replaces it by mistake.
    add(&broker, &["-c", "def run(args): return 2"])
        .exits(1)
        .says(&["there is a tool `echo` already", "--replace"]);
    assert_eq!(broker.call(COMPONENT, &json!({"say": 1})).data(), 1);
    let replaced = add(
        &broker,
        &["--replace", "-c", "def run(args): return 2", "-o", "json"],
    );
    assert_eq!(replaced.ok().json()["replaced"], true);
    assert_eq!(broker.call(COMPONENT, &json!({})).data(), 2);
    // Its grants go with it.
    broker.changed(|home| {
        home.packctl(&["grant", "add", COMPONENT, "env_read", "KEY"])
            .ok();
    });
    broker
        .must(&["tool", "rm", "echo"])
        .says(&["removed tool-echo:tool:echo", "env_read"]);
    assert!(!home.grant_file(COMPONENT).exists());
    assert!(!home.pack("tool-echo").exists());
    assert_eq!(broker.containers(), Vec::<String>::new());
    assert!(broker.ps().iter().all(|pack| pack.pack != "tool-echo"));
    broker.packctl(&["tool", "rm", "echo"]).exits(4);
    broker.packctl(&["tool", "show", "echo"]).exits(4);
    broker.verify().ok();
}

#[test]
fn a_tool_that_does_not_load_is_added_and_said_to_be_broken() {
    let broker = broker();
    let why = "does not load: ModuleNotFoundError: No module named 'no_such_module'";
    add(&broker, &["-c", "import no_such_module"]).ok().says(&[
        why,
        "--replace",
        "added tool-echo:tool:echo",
    ]);
    broker.must(&["ps"]).says(&[why]);
    broker.must(&["doctor"]).says(&[why]);
    let mended = add(&broker, &["--replace", "-c", "def run(args): return 1"]).ok();
    assert!(!mended.text().contains("does not load"), "{mended:?}");
    assert_eq!(broker.call(COMPONENT, &json!({})).data(), 1);
}

#[test]
fn several_tools_are_removed_at_once_or_none() {
    let broker = broker();
    for name in ["one", "two"] {
        broker.must(&["tool", "add", name, "-c", "def run(args): return 1"]);
    }
    let unknown = broker.packctl(&["tool", "rm", "one", "three", "two"]);
    unknown.exits(4).says(&["there is no tool `three`"]);
    assert_eq!(broker.containers().len(), 2);
    broker
        .must(&["tool", "rm", "one", "two", "one"])
        .says(&["removed tool-one:tool:one", "removed tool-two:tool:two"]);
    assert!(broker.containers().is_empty());
}

#[test]
fn a_tool_that_does_not_come_up_leaves_nothing_and_harms_nothing() {
    let broker = broker();
    let home = broker.home();
    let bad = home.file("bad.json", r#"{"type": "nonsense"}"#);
    let bad = ["--schema", bad.to_str().unwrap(), "-c", "x = 1"];
    add(&broker, &bad)
        .exits(1)
        .says(&["is no valid JSON Schema", "`echo` is not added"]);
    assert!(!home.pack("tool-echo").exists());
    assert!(broker.ps().is_empty(), "{:?}", broker.ps());
    add(&broker, &["-c", "def run(args): return 1"]).ok();
    let container = broker.containers();
    let missing = [
        "--replace",
        "--requirement",
        "rumi-has-no-such-package==1",
        "-c",
        "x = 1",
    ];
    add(&broker, &missing)
        .exits(1)
        .says(&["wheels could not be downloaded", "`echo` is not replaced"]);
    // The old one was not even stopped, and is approved as it lies there.
    assert_eq!(broker.containers(), container);
    assert_eq!(broker.call(COMPONENT, &json!({})).data(), 1);
    broker.must(&["up", "tool-echo"]).says(&["up already"]);
    let left: Vec<_> = fs::read_dir(home.path().join("docker/packs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn only_what_tool_add_wrote_is_replaced_or_removed() {
    let broker = broker();
    let home = broker.home();
    home.write_pack("tool-echo", "def run(args): return 'by hand'\n");
    for arguments in [
        &["tool", "rm", "echo"][..],
        &["tool", "add", "echo", "--replace", "-c", "x = 1"],
        &["tool", "show", "echo"],
    ] {
        broker
            .packctl(arguments)
            .exits(1)
            .says(&["is not as `packctl tool add` wrote it"]);
    }
    broker
        .must(&["tool", "ls"])
        .says(&["`tool-echo` is passed over"]);
    assert!(home.pack("tool-echo").join("tool.py").exists());
    // A grant that waits for a tool of this name is told of before anything runs under it.
    fs::remove_dir_all(home.pack("tool-echo")).unwrap();
    broker.grant(
        COMPONENT,
        &json!({"env_read": {"enabled": true, "allowed_keys": ["KEY"]}}),
    );
    add(&broker, &["-c", "def run(args): return 1"])
        .ok()
        .says(&["warning: tool-echo:tool:echo may already: env_read"]);
}

#[test]
fn what_cannot_be_a_tool_is_refused_before_anything_is_asked() {
    let home = Home::new();
    let not_there = home.base().join("nowhere.json");
    let not_there = not_there.to_str().unwrap();
    for (arguments, code, said) in [
        (
            &["tool", "add", "Echo", "-c", "x"][..],
            2,
            "the name of a tool",
        ),
        (&["tool", "add", "../x", "-c", "x"], 2, "the name of a tool"),
        (&["tool", "add", "echo"], 2, "missing"),
        (
            &["tool", "add", "echo", "-c", "x", "file.py"],
            2,
            "cannot be used together",
        ),
        (
            &["tool", "add", "echo", "-c", "x", "--runner", "Ruby!"],
            2,
            "runner",
        ),
        (
            &["tool", "add", "echo", "-c", "x", "--schema", not_there],
            1,
            "cannot read",
        ),
        (&["tool", "add", "echo", not_there], 1, "cannot read"),
        (
            &[
                "tool",
                "add",
                "echo",
                "-c",
                "x",
                "--requirement",
                "x @ file:///etc/passwd",
            ],
            2,
            "must not hold an option, a path, a URL",
        ),
        (
            &["tool", "add", "echo", "-c", "x", "--description", "a\nb"],
            2,
            "without control characters",
        ),
        (
            &["tool", "add", "echo", "-c", "x", "--base", "mine"],
            2,
            "base",
        ),
        (
            &[
                "tool", "add", "echo", "-c", "x", "--env", "A=1", "--env", "A=2",
            ],
            2,
            "given twice",
        ),
        (
            &["tool", "add", "echo", "-c", "x", "--env", "A"],
            2,
            "KEY=VALUE",
        ),
        (&["tool", "rm", "echo"], 4, "there is no tool `echo`"),
        (&["tool", "rm"], 2, "NAME"),
        // Only now anybody would have been asked.
        (&["tool", "add", "echo", "-c", "x"], 5, "does not answer"),
    ] {
        home.packctl(arguments).exits(code).says(&[said]);
    }
    assert!(!home.pack("tool-echo").exists());
    home.packctl(&["tool", "ls"])
        .ok()
        .says(&["no tool was added"]);
}

#[test]
fn the_admins_list_of_packages_holds_for_every_pack() {
    let home = Home::new();
    home.configure(|config| {
        config["build"]["allowed_requirements"] = json!(["Six", "idna==3.7"]);
    });
    let broker = Broker::start(home);
    let tool = |requirement: &str| {
        let code = "import six\n\ndef run(args):\n    return six.ensure_str(b'text')\n";
        add(
            &broker,
            &["--replace", "--requirement", requirement, "-c", code],
        )
    };
    for refused in ["requests==2.32.3", "idna==3.8", "idna", "six-extra"] {
        tool(refused).exits(1).says(&[
            refused,
            "is not among the packages that packs may require",
            "build.allowed_requirements",
        ]);
    }
    assert!(!broker.home().pack("tool-echo").exists());
    tool("six==1.17.0").ok();
    assert_eq!(broker.call(COMPONENT, &json!({})).data(), "text");
}

#[test]
fn a_tool_is_checked_without_being_run() {
    let home = Home::new();
    let check = |name: &str, code: &str| {
        let file = home.file(name, code);
        home.packctl(&["tool", "check", file.to_str().unwrap(), "-o", "json"])
    };
    check("good.py", "def run(args):\n    return args\n").ok();
    // Nothing of it runs, whatever it would do.
    let mark = home.base().join("mark");
    let runs = format!("open({mark:?}, 'w')\ndef run(args):\n    return 1\n");
    check("runs.py", &runs).ok();
    assert!(!mark.exists());
    for (name, code, line, said) in [
        (
            "bad.py",
            "def run(args):\n    return = 1\n",
            2,
            "invalid syntax",
        ),
        (
            "none.py",
            "def start(args):\n    return 1\n",
            1,
            "there is no function `run(args)`",
        ),
        (
            "two.py",
            "x = 1\ndef run(a, b):\n    return 1\n",
            2,
            "called with one argument",
        ),
        ("bad.sh", "if true; then\necho\n", 3, "syntax error"),
    ] {
        let found = check(name, code).exits(1).json();
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(found[0]["line"], line, "{found}");
        let message = found[0]["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
    }
    home.packctl(&["tool", "check", "nobody"]).exits(4);
    home.packctl(&["tool", "check", "/nowhere.py"]).exits(1);
}

#[test]
fn types_are_checked_where_mypy_is_installed() {
    let home = Home::new();
    let place = home.base().join("mypy");
    let python = "/usr/bin/python3";
    let make = std::process::Command::new(python)
        .args(["-m", "venv", place.to_str().unwrap()])
        .status();
    assert!(make.unwrap().success());
    let pip = std::process::Command::new(place.join("bin/pip"))
        .args(["install", "--quiet", "mypy==1.13.0"])
        .status();
    assert!(pip.unwrap().success());
    let file = home.file(
        "typed.py",
        "import rumi\n\n# mypy: ignore-errors\n\ndef half(n: int) -> str:\n    return n / 2\n\ndef run(args):\n    return half('x') + rumi.read_text(1)\n",
    );
    let with = |path: String| {
        let mut packctl = std::process::Command::new(rumi_tests::binary("packctl"));
        let packctl = home.placed(&mut packctl).env("PATH", path);
        Output::of(packctl.args(["tool", "check", file.to_str().unwrap(), "-o", "json"]))
    };
    let without = with("/usr/bin:/bin".to_owned());
    if !std::path::Path::new("/usr/bin/mypy").exists() {
        without
            .ok()
            .says(&["types were not checked", "pip install mypy"]);
    }
    // Code may tell mypy to say nothing of it; that is its author's word, and is left to be seen.
    let path = format!("{}:/usr/bin:/bin", place.join("bin").display());
    with(path.clone()).ok().says(&["types checked by mypy"]);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("# mypy: ignore-errors", "")).unwrap();
    let found = with(path).exits(1).json();
    let lines: Vec<u64> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["line"].as_u64().unwrap())
        .collect();
    assert!(lines.contains(&6) && lines.contains(&9), "{found}");
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["by"] == "mypy"),
        "{found}"
    );
}
