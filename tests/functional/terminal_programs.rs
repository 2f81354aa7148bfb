//! Granted commands as programs on PATH, and commands on the host itself.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use rumi_tests::{Broker, Home};
use serde_json::{Value, json};

const TOOL: &str = r#"
import os, shutil, subprocess

def run(args):
    if "which" in args:
        return {"path": shutil.which(args["which"])}
    env = None if args.get("env") is None else args["env"]
    done = subprocess.run(args["argv"], input=args.get("input", "").encode(), capture_output=True, env=env, timeout=25)
    return {"code": done.returncode, "out": done.stdout.decode(), "err": done.stderr.decode()}
"#;

fn broker() -> Broker {
    let home = Home::new();
    home.write_pack("uses", TOOL);
    let mut manifest = Home::manifest("uses");
    manifest["base"] = json!("tools");
    home.write_manifest("uses", &manifest);
    let directory = home.data("project");
    home.grant(
        "uses:tool:run",
        &json!({"terminal": {
            "enabled": true, "directories": [directory], "allowed_commands": ["git", "cat", "sleep"],
            "env": {"HOME": "/tmp"},
        }}),
    );
    let broker = Broker::start(home);
    broker.up(&["uses"]);
    broker
}

fn run(broker: &Broker, args: Value) -> Value {
    broker.call("uses:tool:run", &args).data().clone()
}

#[test]
fn unmodified_software_finds_the_granted_command() {
    let broker = broker();
    let git = |words: &[&str]| {
        let argv: Vec<&str> = ["git"].iter().chain(words).copied().collect();
        run(&broker, json!({"argv": argv}))
    };
    let path = run(&broker, json!({"which": "git"}));
    assert_eq!(path["path"], "/run/rumi/bin/uses.tool.run/git");
    let made = git(&["init", "--quiet", "."]);
    assert_eq!(made["code"], 0, "{made}");
    let project = broker.home().base().join("data/project");
    assert!(
        project.join(".git/HEAD").is_file(),
        "it ran in the granted directory"
    );
    assert_eq!(git(&["rev-parse", "--verify", "nothing"])["code"], 128);
    let hashed = run(
        &broker,
        json!({"argv": ["git", "hash-object", "--stdin"], "input": "hello\n"}),
    );
    assert_eq!(
        hashed["out"], "ce013625030ba8dba906f756967f9e9ca394464a\n",
        "{hashed}"
    );
    // A careful program gives its child an environment of its own.
    let bare = json!({"argv": ["/run/rumi/bin/uses.tool.run/cat"], "input": "x", "env": {}});
    assert_eq!(run(&broker, bare)["out"], "x");

    broker.grant(
        "uses:tool:run",
        &json!({"terminal": {
            "enabled": true, "directories": [project], "allowed_commands": ["/usr/bin/git status **"],
        }}),
    );
    let named = broker.home().run().join("packs/uses/bin/uses.tool.run");
    rumi_tests::within(Duration::from_secs(2), "the names to follow", || {
        !named.join("cat").exists() && fs::symlink_metadata(named.join("cat")).is_err()
    });
    let refused = git(&["push", "--force"]);
    assert_eq!(refused["code"], 126, "{refused}");
    let error = refused["err"].as_str().unwrap();
    assert!(error.contains("argument 1 of `git`, `push`,"), "{error}");
    assert!(error.contains("command_not_allowed, record "), "{error}");
    assert_eq!(git(&["status"])["code"], 0);

    broker.ungrant("uses:tool:run");
    rumi_tests::within(Duration::from_secs(2), "the names to go", || {
        fs::read_dir(&named).unwrap().next().is_none()
    });
}

#[test]
fn the_host_is_for_those_who_were_granted_it_in_so_many_words() {
    let home = Home::new();
    let directory = home.data("on-host");
    let grant = json!({"terminal": {
        "enabled": true, "directories": [directory], "mode": "host", "timeout_ms": 5000,
        "allowed_commands": ["id", "env", "cat", "python3", "pwd"], "env": {"ONLY": "this"},
    }});
    let key = home.file("key", "secret of root");
    std::os::unix::fs::chown(&key, Some(0), Some(0)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    home.grant("probe:tool:do", &grant);
    let broker = Broker::start_with(home, &[("BROKERS_OWN", "leak")]);
    broker.up(&["probe"]);
    let peer = broker.as_component("probe:tool:do");
    let run = |argv: &[&str]| {
        peer.json(
            "TerminalRun",
            &json!({"argv": argv, "directory": directory}),
        )
    };
    assert_eq!(run(&["id"]).reason(), "forbidden_by_scope");
    let lint = broker.packctl(&["grant", "lint"]);
    assert!(lint.stdout.contains("THIS IS NO SANDBOX"), "{lint:?}");

    broker.changed(|home| {
        let path = home.path().join("scopes/terminal.json");
        let mut scope: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        scope["limits"]["allow_host_mode"] = json!(true);
        fs::write(path, scope.to_string()).unwrap();
    });
    let said = |argv: &[&str]| String::from_utf8(run(argv).bytes("stdout")).unwrap();
    let owner = fs::metadata(&directory)
        .map(|of| std::os::unix::fs::MetadataExt::uid(&of))
        .unwrap()
        .to_string();
    assert_eq!(said(&["id", "-u"]).trim(), owner);
    assert_eq!(said(&["id", "-G"]).trim(), owner, "no supplementary groups");
    assert_eq!(said(&["env"]), "ONLY=this\n");
    assert_eq!(said(&["pwd", "-P"]).trim(), directory.to_str().unwrap());
    let refused = run(&["cat", key.to_str().unwrap()]).ok();
    assert_eq!(refused["exitCode"], 1, "root's files stay root's");
    let status = said(&["cat", "/proc/self/status"]);
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );

    // What it started in a session of its own ends with it, at its time or at its own end.
    let mark = directory.join("beats");
    let daemon = "import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n            open('beats', 'a').write('x'); time.sleep(0.05)\n    os._exit(0)\ntime.sleep(float(sys.argv[1]))";
    for seconds in ["0.5", "60"] {
        let ended = run(&["python3", "-c", daemon, seconds]).ok();
        let expected = if seconds == "60" {
            json!("STOPPED_REASON_TIMEOUT")
        } else {
            Value::Null
        };
        assert_eq!(ended["stoppedReason"], expected);
        std::thread::sleep(Duration::from_millis(200));
        let beats = fs::metadata(&mark).unwrap().len();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(fs::metadata(&mark).unwrap().len(), beats, "it beats on");
    }
}
