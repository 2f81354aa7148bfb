//! The admin's tool against a live broker: exit codes, output, and the way of a new pack.

use std::time::Duration;

use rumi_tests::{Broker, Home, Output, run, shared, within};
use serde_json::{Value, json};

#[test]
fn each_exit_code_says_how_a_command_ended() {
    let broker = shared();
    let call =
        |args: &Value| broker.packctl(&["call", "probe:tool:do", "--args", &args.to_string()]);
    call(&json!({"op": "echo", "args": [1]})).exits(0);
    call(&json!({"op": "fail", "args": ["ValueError"]})).exits(1);
    call(&json!({"nothing": 1})).exits(1).says(&["op"]);
    broker
        .packctl(&["call", "probe:tool:do", "--args", "{"])
        .exits(2);
    broker.packctl(&["call", "nonsense"]).exits(2);
    broker.packctl(&["no-such-verb"]).exits(2);
    call(&json!({"op": "read_file", "args": ["/srv/exit/codes"]}))
        .exits(3)
        .says(&[
            "no_grant",
            "packctl grant add probe:tool:do file_read /srv/exit",
        ]);
    broker
        .packctl(&["call", "nobody:tool:x", "--args", "{}"])
        .exits(4);
    broker
        .packctl(&["up", "nobody"])
        .exits(4)
        .says(&["nobody", "packctl init nobody"]);
    broker
        .packctl(&["audit", "show", "0000000000000000"])
        .exits(4);
    broker
        .packctl(&["grant", "check", "probe:tool:do", "env_read", "KEY"])
        .exits(3);
    let nobody = Home::new();
    nobody
        .packctl(&["ps"])
        .exits(5)
        .says(&["control.sock", "rumi-broker"]);
    // What needs no broker works without one.
    nobody.packctl(&["grant", "ls"]).exits(0);
    nobody.packctl(&["grant", "lint"]).exits(0);
}

#[test]
fn the_remedy_of_a_refusal_can_be_pasted_and_helps() {
    let home = Home::new();
    let directory = home.data("a 'quoted' $name; with spaces");
    let file = home.file("a 'quoted' $name; with spaces/file", "content");
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let args = json!({"op": "read_text", "args": [file]}).to_string();
    let call = || broker.packctl(&["call", "probe:tool:do", "--args", &args]);
    let refused = call().exits(3);
    let text = refused.text();
    let remedy = text
        .lines()
        .find_map(|line| line.find("packctl grant add").and_then(|at| line.get(at..)));
    let remedy = remedy
        .unwrap_or_else(|| panic!("no remedy in {text}"))
        .to_owned();
    // As an admin would: pasted into a shell.
    let path = std::env::join_paths([
        rumi_tests::binary("packctl").parent().unwrap(),
        "/usr/bin".as_ref(),
        "/bin".as_ref(),
    ]);
    let mut shell = std::process::Command::new("sh");
    run(broker
        .home()
        .placed(&mut shell)
        .env("PATH", path.unwrap())
        .args(["-c", &remedy]))
    .ok();
    within(Duration::from_secs(1), "the same call to succeed", || {
        let called = call();
        called.code == 0 && called.stdout.contains("content")
    });
    let grant = std::fs::read_to_string(broker.home().grant_file("probe:tool:do")).unwrap();
    let grant: Value = serde_json::from_str(&grant).unwrap();
    assert_eq!(
        grant["permissions"]["file_read"]["directories"],
        json!([directory])
    );
}

#[test]
fn grant_check_answers_what_the_broker_does() {
    let home = Home::new();
    let data = home.file("granted/file", "x");
    home.file("other/file", "x");
    home.grant(
        "probe:tool:do",
        &json!({
            "file_read": {"enabled": true, "directories": [data.parent().unwrap()]},
            "env_read": {"enabled": true, "allowed_keys": ["SHOP_KEY"]},
        }),
    );
    let broker = Broker::start_with(home, &[("SHOP_KEY", "value")]);
    broker.up(&["probe"]);
    let peer = broker.as_component("probe:tool:do");
    let at = |name: &str| {
        broker
            .home()
            .base()
            .join("data")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let cases = [
        (
            "file_read",
            at("granted/file"),
            "FileRead",
            json!({"path": at("granted/file")}),
        ),
        (
            "file_read",
            at("other/file"),
            "FileRead",
            json!({"path": at("other/file")}),
        ),
        (
            "file_read",
            "/etc/shadow".to_owned(),
            "FileRead",
            json!({"path": "/etc/shadow"}),
        ),
        (
            "file_write",
            at("granted/file"),
            "FileWrite",
            json!({"path": at("granted/file")}),
        ),
        (
            "env_read",
            "SHOP_KEY".to_owned(),
            "EnvRead",
            json!({"key": "SHOP_KEY"}),
        ),
        (
            "env_read",
            "PATH".to_owned(),
            "EnvRead",
            json!({"key": "PATH"}),
        ),
    ];
    for (permission, argument, method, message) in cases {
        let reply = peer.json(method, &message);
        let checked = broker.packctl(&["grant", "check", "probe:tool:do", permission, &argument]);
        if reply.status == 200 {
            checked.exits(0);
        } else {
            checked.exits(3).says(&[&reply.reason()]);
        }
    }
}

#[test]
fn a_new_pack_works_at_once() {
    let broker = Broker::start(Home::new());
    broker.must(&["init", "fresh"]);
    broker
        .packctl(&["init", "fresh"])
        .exits(1)
        .says(&["fresh", "exists already"]);
    broker.up(&["fresh"]);
    let called = broker.must(&["call", "fresh:tool:hello", "--args", r#"{"name": "you"}"#]);
    assert!(called.stdout.contains("Hello, you!"), "{}", called.stdout);
    let file = broker.home().file("words", "one two three");
    let args = json!({"file": file}).to_string();
    broker
        .packctl(&["call", "fresh:tool:hello", "--args", &args])
        .exits(3)
        .says(&["no_grant"]);
    let directory = file.parent().unwrap().to_str().unwrap();
    broker.must(&["grant", "add", "fresh:tool:hello", "file_read", directory]);
    within(Duration::from_secs(1), "the grant to take effect", || {
        broker
            .packctl(&["call", "fresh:tool:hello", "--args", &args])
            .stdout
            .contains("3")
    });
}

#[test]
fn a_pack_goes_up_and_down_and_ps_stats_logs_and_doctor_show_it() {
    let home = Home::new();
    home.write_pack(
        "one",
        "import sys\nprint('loaded', file=sys.stderr)\ndef run(args):\n    return 1\n",
    );
    let broker = Broker::start(home);
    let json = |arguments: &[&str]| -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        broker.must(&all).json()
    };
    broker.up(&["one"]);
    let again = broker.must(&["up", "one", "-o", "json"]);
    assert!(
        again.stdout.contains("false"),
        "nothing was to do: {}",
        again.stdout
    );
    let ps = json(&["ps"]).to_string();
    assert!(
        ps.contains("one:tool:run") && ps.contains("running"),
        "{ps}"
    );
    let stats = json(&["stats"]).to_string();
    assert!(stats.contains("\"one\""), "{stats}");
    broker.packctl(&["doctor"]).says(&["one:tool:run"]);
    let containers = broker.containers();
    assert_eq!(containers.len(), 1);
    broker.must(&["down", "one"]);
    assert_eq!(broker.containers(), Vec::<String>::new());
    broker
        .packctl(&["call", "one:tool:run", "--args", "{}"])
        .exits(4)
        .says(&["packctl up one"]);
    let gone = std::os::unix::net::UnixStream::connect(broker.socket("one:tool:run"));
    assert!(
        gone.is_err(),
        "somebody still answers for a pack that is down"
    );
}

#[test]
fn the_log_is_queried_by_component_decision_reason_and_text_and_verified() {
    let broker = shared();
    broker
        .probe("read_file", &json!(["/srv/queried/for"]))
        .error();
    let query = |filters: &[&str]| -> Vec<Value> {
        let mut all = vec!["audit", "query", "-o", "jsonl"];
        all.extend(filters);
        broker
            .must(&all)
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let filters = [
        "--component",
        "probe:tool:do",
        "--decision",
        "deny",
        "--reason",
        "no_grant",
        "--permission",
        "file_read",
        "--since",
        "1h",
        "--text",
        "/srv/queried",
    ];
    let found = query(&filters);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["target"], "/srv/queried/for");
    assert_eq!(
        query(&["--component", "probe:tool:do", "--reason", "expired"]),
        Vec::<Value>::new()
    );
    let id = found[0]["id"].as_str().unwrap();
    broker.must(&["audit", "show", id]).says(&[
        "/srv/queried/for",
        "packctl grant add probe:tool:do file_read /srv/queried",
    ]);
    broker.verify().ok();
}

#[test]
fn one_flipped_byte_of_a_copy_is_found_and_its_record_named() {
    let broker = shared();
    broker
        .probe("read_file", &json!(["/srv/flipped/byte"]))
        .error();
    // A record that is neither signed nor followed by another is vouched for by nothing yet.
    rumi_tests::eventually("a checkpoint", || {
        !broker.verify().ok().text().contains("not signed yet")
    });
    let copy = tempfile::tempdir().unwrap();
    let audit = broker.home().state().join("audit");
    for entry in std::fs::read_dir(&audit).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let key = broker.home().state().join("keys/audit.pub");
    let verify = || -> Output {
        broker.packctl(&[
            "audit",
            "verify",
            "--dir",
            copy.path().to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ])
    };
    verify().ok();
    let mut segments: Vec<_> = std::fs::read_dir(copy.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    let segment = segments
        .iter()
        .find(|path| {
            std::fs::read(path)
                .unwrap()
                .windows(17)
                .any(|w| w == b"/srv/flipped/byte")
        })
        .unwrap();
    let mut bytes = std::fs::read(segment).unwrap();
    let at = bytes
        .windows(17)
        .position(|window| window == b"/srv/flipped/byte")
        .unwrap();
    bytes[at + 5] ^= 1;
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    std::fs::write(segment, bytes).unwrap();
    let found = verify().exits(1).text();
    assert!(
        found.contains(&format!("line {line}")) || found.contains(&format!("line {}", line + 1)),
        "{line}: {found}"
    );
}

#[test]
fn who_may_not_administer_is_turned_away() {
    let broker = shared();
    let socket = broker.home().run().join("control.sock");
    let stranger = rumi_tests::Peer::new(socket, 65_534);
    assert_eq!(
        stranger.connect().unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
    // And what the admin does is recorded under the admin's uid.
    broker.must(&["call", "probe:tool:do", "--args", r#"{"op": "pid"}"#]);
    let audit = broker.audit();
    let admin = audit
        .iter()
        .rfind(|record| record["phase"] == "admin")
        .unwrap();
    assert_eq!(admin["peer"]["uid"], 0, "{admin}");
}
