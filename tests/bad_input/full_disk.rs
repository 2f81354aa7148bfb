//! A state directory without room: what cannot be recorded is denied.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    process::Command,
};

use rumi_tests::{Broker, Home, Output};
use serde_json::{Value, json};

const COMPONENT: &str = "probe:tool:do";

/// Takes all room that is left.
fn fill(home: &Home) -> std::path::PathBuf {
    let path = home.state().join("filler");
    let mut file = File::create(&path).unwrap();
    let mut piece = vec![0_u8; 1 << 16];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => panic!("{error}"),
        }
    }
    path
}

#[test]
fn on_a_full_disk_every_request_is_denied_and_doctor_says_so() {
    let home = Home::new();
    fs::create_dir(home.state()).unwrap();
    Output::of(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs"])
            .arg(home.state()),
    )
    .ok();
    home.configure(|config| config["audit"]["segment_size"] = json!("1m"));
    let mut broker = Broker::start(home);
    broker.up(&["probe"]);
    let file = broker.home().file("docs/a.txt", "a");
    let directory = file.parent().unwrap().to_owned();
    broker.grant(
        COMPONENT,
        &json!({
            "file_read": {"enabled": true, "directories": [directory]},
            "file_write": {"enabled": true, "directories": [directory]},
            "env_read": {"enabled": true, "allowed_keys": ["PATH"]},
            "terminal": {"enabled": true, "directories": [directory], "allowed_commands": ["ls"]},
            "network": {"enabled": true, "allowed_domains": ["example.org"], "allowed_ports": [443]},
        }),
    );
    let peer = broker.component(COMPONENT);
    let read = json!({"path": file});
    peer.json("FileRead", &read).ok();
    let refused = json!({"path": "/nowhere/granted"});
    let mut acknowledged = vec![peer.json("FileRead", &refused).record()];
    let filler = fill(broker.home());
    for _ in 0..10_000 {
        let reply = peer.json("FileRead", &refused);
        assert_ne!(reply.status, 200);
        if reply.reason() == "audit_unavailable" {
            break;
        }
        acknowledged.push(reply.record());
    }

    let write = directory.join("b.txt");
    let requests: [(&str, Value); 9] = [
        ("FileRead", read.clone()),
        ("FileList", json!({"path": directory})),
        ("FileStat", json!({"path": file})),
        ("FileWrite", json!({"path": write, "data": "eA=="})),
        ("FileMkdir", json!({"path": directory.join("new")})),
        ("FileDelete", json!({"path": file})),
        ("EnvRead", json!({"key": "PATH"})),
        (
            "TerminalRun",
            json!({"argv": ["ls"], "directory": directory}),
        ),
        (
            "NetworkFetch",
            json!({"method": "GET", "url": "https://example.org/"}),
        ),
    ];
    for (method, message) in requests {
        let reply = peer.json(method, &message);
        assert_eq!(reply.reason(), "audit_unavailable", "{method}: {reply:?}");
        assert_eq!(reply.status, 503, "{method}");
    }
    assert_eq!(peer.get_file(&file, "").reason(), "audit_unavailable");
    assert!(file.exists() && !write.exists() && !directory.join("new").exists());

    // The admin's verbs are recorded as well, so they are refused too, with the reason.
    for arguments in [
        &["call", COMPONENT, "--args", r#"{"op":"echo","args":[1]}"#][..],
        &["down", "probe"],
    ] {
        let ended = broker.packctl(arguments);
        assert_ne!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.says(&["audit"]);
    }
    broker.packctl(&["doctor"]).exits(1).says(&[
        "audit log: it cannot be written, so every request is denied",
        "hint: make room",
        "disk: only 0 MB are left",
    ]);
    assert_eq!(broker.ps().len(), 1);
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");

    // Full, it cannot start either, and says why; with room again all is as it was.
    broker.kill9();
    fs::remove_file(filler).unwrap();
    broker.launch();
    broker.component(COMPONENT).json("FileRead", &read).ok();
    broker.verify().ok();
    let recorded = broker.audit();
    for id in acknowledged {
        assert!(
            recorded.iter().any(|record| record["id"] == id),
            "`{id}` is lost"
        );
    }
    drop(broker);
}

#[test]
fn a_broker_does_not_start_on_a_full_disk_and_says_why() {
    let home = Home::new();
    fs::create_dir(home.state()).unwrap();
    Output::of(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs"])
            .arg(home.state()),
    )
    .ok();
    fill(&home);
    let mut command = Command::new("timeout");
    command.arg("20").arg(rumi_tests::binary("rumi-broker"));
    let ended = Output::of(home.placed(&mut command)).exits(1);
    ended.says(&[home.state().to_str().unwrap(), "No space left on device"]);
}
