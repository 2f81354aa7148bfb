//! `terminal`: commands in a sandbox.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_proto::v1;
use rumi_tests::Reply;
use serde_json::{Value, json};

use crate::world::world;

fn run(mut message: Value) -> Reply {
    let world = world();
    if message.get("directory").is_none() {
        message["directory"] = json!(world.at("commands"));
    }
    world.peer("commands").json("TerminalRun", &message)
}

fn python(program: &str) -> Reply {
    run(json!({"argv": ["python3", "-c", program]}))
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.bytes("stdout")).unwrap()
}

#[test]
fn a_command_is_given_as_words_or_as_one_string() {
    let world = world();
    world.broker.home().file("commands/a file.txt", "content");
    let cases = [
        json!({"argv": ["cat", "a file.txt"]}),
        json!({"command": "cat 'a file.txt'"}),
        json!({"command": "cat \"a file.txt\""}),
        json!({"command": "cat a\\ file.txt"}),
        json!({"argv": ["cat", world.at("commands/a file.txt")]}),
        json!({"argv": ["cat"], "stdin": STANDARD.encode("content")}),
        json!({"argv": ["/bin/cat", "a file.txt"]}),
    ];
    for message in cases {
        let reply = run(message.clone());
        assert_eq!(text(&reply), "content", "{message}");
        assert_eq!(reply.json().get("exitCode"), None, "{message}");
    }
    // No shell: what is no operator is passed on as it is.
    let reply = run(json!({"command": "ls '*' '$HOME' 'a|b'"}));
    let error = String::from_utf8(reply.bytes("stderr")).unwrap();
    for word in ["*", "$HOME", "a|b"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert_ne!(reply.json()["exitCode"], json!(null));
}

#[test]
fn a_command_runs_as_the_owner_of_its_directory_and_sees_nothing_else() {
    let world = world();
    let owner = fs::metadata(world.data("commands"))
        .unwrap()
        .uid()
        .to_string();
    let reply = run(json!({"argv": ["id", "-u"]}));
    assert_eq!(text(&reply).trim(), owner);
    let reply = run(json!({"argv": ["pwd"]}));
    assert_eq!(text(&reply).trim(), world.at("commands"));
    world.broker.home().file("secret/key", "secret");
    let reply = run(json!({"argv": ["cat", world.at("secret/key")]}));
    assert_eq!(reply.ok()["exitCode"], 1);
    let reply = python("import os; print(sorted(os.listdir('/sys/class/net')))");
    assert_eq!(text(&reply).trim(), "['lo']");
    let reply = python("open('made', 'w').write('x')");
    assert_eq!(reply.ok().get("exitCode"), None, "{}", text(&reply));
    assert_eq!(
        fs::metadata(world.data("commands/made"))
            .unwrap()
            .uid()
            .to_string(),
        owner
    );
    let reply = python("open('/usr/x', 'w')");
    assert_eq!(reply.ok()["exitCode"], 1);
}

#[test]
fn a_program_is_matched_by_where_its_path_leads_not_by_its_name() {
    let world = world();
    // A program of the same name in the working directory is not the granted one.
    let file = world
        .broker
        .home()
        .file("commands/cat", "#!/bin/sh\necho fooled\n");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for argv in [["./cat", "made"], [file.to_str().unwrap(), "made"]] {
        let reply = run(json!({"argv": argv}));
        assert!(
            reply.status >= 400,
            "{argv:?}: {}",
            String::from_utf8_lossy(&reply.body)
        );
    }
    // /usr/bin/python3 was granted; the name it leads to is the same program.
    let reply = run(json!({"argv": ["python3.11", "-c", "print(1)"]}));
    assert_eq!(text(&reply), "1\n");
}

#[test]
fn time_output_and_memory_of_a_command_are_limited() {
    let started = Instant::now();
    let reply = run(json!({"argv": ["sleep", "60"], "timeoutMs": 500})).ok();
    assert_eq!(reply["stoppedReason"], "STOPPED_REASON_TIMEOUT");
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    // The grant's own time-out bounds what is asked for.
    let started = Instant::now();
    let reply = run(json!({"argv": ["sleep", "60"], "timeoutMs": 60_000})).ok();
    assert_eq!(reply["stoppedReason"], "STOPPED_REASON_TIMEOUT");
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
    let reply = python("import sys\nwhile True: sys.stdout.write('x' * 65536)");
    assert_eq!(reply.ok()["truncated"], true);
    assert!(reply.bytes("stdout").len() <= 65_536);
    let reply = python("x = b'x' * (1 << 30)").ok();
    assert_eq!(reply["stoppedReason"], "STOPPED_REASON_MEMORY", "{reply}");
    let reply = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)");
    assert_eq!(reply.ok()["exitCode"], 7);
    assert_eq!(
        (text(&reply).as_str(), reply.bytes("stderr")),
        ("out\n", b"err\n".to_vec())
    );
}

#[test]
fn each_run_leaves_a_line_and_no_container() {
    let world = world();
    world.broker.home().data("commands/lines");
    let directory = world.at("commands/lines");
    let mark = "import sys; sys.exit(3) # each-run-leaves-a-line";
    run(json!({"argv": ["python3", "-c", mark], "directory": directory})).ok();
    let path = world.broker.home().state().join("log/executions.jsonl");
    let lines = fs::read_to_string(path).unwrap();
    let of = |line: &&str| line.contains("each-run-leaves-a-line");
    let line: Value = serde_json::from_str(lines.lines().find(of).unwrap()).unwrap();
    assert_eq!(line["argv"], json!(["python3", "-c", mark]));
    assert_eq!(line["exit_code"], 3);
    assert_eq!(line["truncated"], false);
    assert_eq!(line["stopped_reason"], "exited");
    assert!(
        line["duration_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{line}"
    );
    assert!(
        line["timestamp"]
            .as_u64()
            .is_some_and(|ms| ms > 1_700_000_000_000),
        "{line}"
    );
    let container = line["container_id"].as_str().unwrap().to_owned();
    assert_eq!(container.len(), 64);
    rumi_tests::eventually("the sandbox to be gone", || {
        !world.broker.containers().contains(&container)
    });
    let audit = world.broker.audit();
    let decision = audit
        .iter()
        .find(|record| record["target"] == json!(directory))
        .unwrap();
    let records = world.broker.records_of(decision["id"].as_str().unwrap());
    assert_eq!(records[1]["detail"]["more"]["exit_code"], 3, "{records:?}");
}

#[test]
fn grpc_runs_commands_too() {
    let world = world();
    let directory = world.at("commands");
    let peer = world.peer("commands");
    let reply = world.broker.block_on(async {
        let request = v1::TerminalRunRequest {
            argv: vec!["cat".into()],
            directory,
            stdin: vec![0, 255, 10].into(),
            ..v1::TerminalRunRequest::default()
        };
        peer.grpc()
            .await
            .terminal_run(request)
            .await
            .unwrap()
            .into_inner()
    });
    assert_eq!(reply.stdout.as_ref(), [0, 255, 10]);
    assert_eq!((reply.exit_code, reply.truncated), (0, false));
}
