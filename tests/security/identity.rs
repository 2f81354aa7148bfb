//! Who speaks: the socket says it, and the kernel must agree.

use std::{
    io::{Read as _, Write as _},
    process::Command,
    time::Duration,
};

use rumi_tests::{Output, run};
use serde_json::json;

use crate::yard::yard;

const OWN: &str = "suspects:tool:silent";

/// Tells for each socket below /run/rumi whether it can be connected to.
const LOOK: &str = r#"
import glob, json, os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
found = {}
for path in sorted(glob.glob("/run/rumi/*.sock")):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        found[path] = "connected"
    except OSError as error:
        found[path] = error.strerror
print(json.dumps(found))
"#;

#[test]
fn inside_a_container_each_uid_reaches_its_own_socket_alone() {
    let yard = yard();
    let packs = yard.ps();
    let pack = packs.iter().find(|pack| pack.pack == "suspects").unwrap();
    for component in &pack.components {
        let uid = component.uid.to_string();
        let mut docker = Command::new("docker");
        let user = format!("{uid}:{uid}");
        // Already the component's user: what the program does to become it changes nothing.
        let program = LOOK.replace("os.setgroups([]); ", "");
        docker.args([
            "exec",
            "--user",
            &user,
            &pack.container_id,
            "python3.11",
            "-I",
            "-c",
            &program,
            &uid,
        ]);
        let found = Output::of(&mut docker).ok().json();
        let sockets = found.as_object().unwrap();
        assert_eq!(sockets.len(), pack.components.len());
        for (path, how) in sockets {
            let own = path.ends_with(&format!("/{}.sock", component.component_id));
            let expected = if own {
                "connected"
            } else {
                "Permission denied"
            };
            assert_eq!(how, expected, "{path} as {}", component.component_id);
        }
    }
}

#[test]
fn the_sockets_directory_and_the_admins_socket_are_closed_to_every_component() {
    let yard = yard();
    let peer = yard.component(OWN);
    let control = yard.home().run().join("control.sock");
    for uid in [peer.uid(), 65_534, 1_000] {
        let admin = rumi_tests::Peer::new(control.clone(), uid).connect();
        assert!(admin.is_err(), "uid {uid} reached the admin's socket");
        let other = yard
            .component("suspects:tool:files")
            .with_uid(uid)
            .connect();
        assert!(
            other.is_err(),
            "uid {uid} reached another component's socket"
        );
    }
}

#[test]
fn a_peer_of_another_uid_is_dropped_even_where_the_file_lets_it_in() {
    let yard = yard();
    let peer = yard.component(OWN);
    // Root passes every file right; as a component it is nobody all the same.
    let mut stream = peer.with_uid(0).connect().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream
        .write_all(b"POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        .ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert!(
        yard.log()
            .contains("refused a peer whose uid is not the component's")
    );

    // The same where the socket's mode was opened by mistake.
    let socket = peer.socket().to_owned();
    run(Command::new("chmod").arg("666").arg(&socket)).ok();
    let mut stream = peer.with_uid(65_534).connect();
    if let Ok(stream) = &mut stream {
        stream
            .write_all(b"GET /files HTTP/1.1\r\nHost: x\r\n\r\n")
            .ok();
        stream.read_to_end(&mut answer).ok();
    }
    run(Command::new("chmod").arg("600").arg(&socket)).ok();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(
        peer.json("EnvRead", &json!({"key": "PATH"})).reason(),
        "no_grant"
    );
}

#[test]
fn a_peer_that_is_no_process_of_the_container_gets_no_call() {
    let yard = yard();
    let peer = yard.component("suspects:tool:policy");
    let mut stream = peer.connect().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    stream
        .write_all(
            b"POST /rumi.v1.Worker/Spare HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
              Upgrade: rumi-spare\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    for number in 0..5 {
        let args = json!({"private": format!("arguments of another call {number}")});
        assert_eq!(yard.call("suspects:tool:policy", &args).data(), &args);
    }
    let mut seen = Vec::new();
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..read]);
    }
    assert!(
        !String::from_utf8_lossy(&seen).contains("private"),
        "a stranger saw a call's arguments"
    );
}

#[test]
fn a_request_names_nobody_but_its_socket() {
    let yard = yard();
    let peer = yard.component(OWN);
    let claims = [
        ("X-Rumi-Component", "suspects:tool:files"),
        ("Rumi-Component", "suspects:tool:files"),
        ("Authorization", "Bearer root"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Content-Type", "application/json"),
    ];
    let path = yard.home().base().join("data/granted");
    let body = json!({"path": path}).to_string();
    let reply = peer.http(
        "POST",
        "/rumi.v1.Capabilities/FileList",
        &claims,
        body.as_bytes(),
    );
    assert_eq!(reply.reason(), "no_grant");
    let records = yard.records_of(&reply.record());
    assert_eq!(records[0]["component"], json!(OWN));
    assert_eq!(records[0]["peer"]["uid"], json!(peer.uid()));
    for service in [
        "Control/Status",
        "Control/Down",
        "Control/Call",
        "Worker/Nothing",
        "Nothing/Nothing",
    ] {
        let reply = peer.http(
            "POST",
            &format!("/rumi.v1.{service}"),
            &[("Content-Type", "application/json")],
            b"{}",
        );
        assert!(
            (400..=501).contains(&reply.status),
            "{service}: {}",
            reply.status
        );
    }
}
