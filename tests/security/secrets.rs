//! A secret is seen by the component that was granted it, and by nobody and nothing else.

use std::{fs, path::Path, process::Command};

use rumi_tests::Output;
use serde_json::json;

use crate::{
    policy::one_at_a_time,
    yard::{SECRET, SECRET_OF_ENVIRONMENT, Yard, yard},
};

#[test]
fn a_secret_is_in_no_log_no_error_and_no_container_but_in_the_answer_alone() {
    let yard = yard();
    let component = "probe:tool:do";
    let _one = one_at_a_time();
    let peer = yard.component(component);
    let home = yard.home();
    let keys = json!({"enabled": true, "allowed_keys": ["API_TOKEN", "API_TOKEN_2"]});
    let domains =
        json!({"enabled": true, "allowed_domains": ["granted.test"], "allowed_ports": [443]});
    yard.grant(component, &json!({"env_read": keys, "network": domains}));
    let mut said = Vec::new();
    for (key, value) in [
        ("API_TOKEN", SECRET),
        ("API_TOKEN_2", SECRET_OF_ENVIRONMENT),
    ] {
        let reply = peer.json("EnvRead", &json!({"key": key}));
        assert_eq!(reply.ok()["values"][key], json!(value));
        // A tool that uses it: as a key, a path, a header, an argument, a word of an error.
        for (method, message) in [
            ("EnvRead", json!({"key": value.replace('-', "_")})),
            (
                "NetworkFetch",
                json!({
                    "method": "POST", "url": format!("https://granted.test/?token={value}"), "body": value.as_bytes().first(),
                    "headers": [{"name": "Authorization", "value": format!("Bearer {value}")}],
                }),
            ),
            (
                "NetworkFetch",
                json!({"method": "GET", "url": format!("https://user:{value}@granted.test/")}),
            ),
            (
                "NetworkFetch",
                json!({
                    "method": "GET", "url": "https://granted.test/",
                    "headers": [{"name": "X-Token", "value": format!("{value}\r\nX: y")}],
                }),
            ),
            (
                "TerminalRun",
                json!({"argv": ["sh", "-c", value], "directory": "/srv"}),
            ),
        ] {
            said.push(peer.json(method, &message));
        }
    }
    let answers = [
        yard.call(component, &json!({"op": "env", "args": ["API_TOKEN"]})),
        yard.call(
            component,
            &json!({"op": "fail", "args": ["ValueError", "without it"]}),
        ),
    ];
    assert!(
        answers[0].result.to_string().contains(SECRET),
        "{answers:?}"
    );
    assert!(!format!("{:?}", answers[1]).contains(SECRET));
    yard.ungrant(component);
    for key in ["API_TOKEN", "API_TOKEN_2"] {
        said.push(peer.json("EnvRead", &json!({"key": key})));
    }
    for reply in &said {
        assert_ne!(reply.status, 200);
        no_secret("an error", &String::from_utf8_lossy(&reply.body));
    }
    for invocation in ["status", "ps", "stats", "doctor"] {
        no_secret(invocation, &yard.packctl(&[invocation]).text());
    }
    no_secret("the broker's log", &yard.log());
    no_secret(
        "packctl audit",
        &yard.must(&["audit", "tail", "--lines", "100000"]).text(),
    );
    below(&home.state());
    below(&home.run());
    below(&home.path());
    for container in yard.containers() {
        for arguments in [
            ["inspect", &container],
            ["logs", &container],
            ["top", &container],
        ] {
            no_secret(
                arguments[0],
                &Output::of(Command::new("docker").args(arguments)).text(),
            );
        }
    }
    for word in ["cmdline", "environ"] {
        own_processes(&yard, word);
    }
    let records = yard
        .audit()
        .iter()
        .filter(|record| record["permission"] == "env_read")
        .count();
    assert!(records >= 6, "reading a secret is recorded");
}

/// Of all processes on this host, in its containers too; of the broker's own environment it was given one.
#[track_caller]
fn own_processes(yard: &Yard, word: &str) {
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        // It may have ended since.
        let text = fs::read(entry.path().join(word)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        seen += usize::from(!text.is_empty());
        if pid == yard.pid() {
            assert!(!text.contains(SECRET), "the broker's {word}");
        } else {
            no_secret(&format!("{word} of {pid}"), &text);
        }
    }
    assert!(seen > 5, "processes can be seen");
}

#[test]
fn the_broker_writes_no_core_file() {
    let yard = yard();
    let limits = fs::read_to_string(format!("/proc/{}/limits", yard.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let numbers: Vec<_> = core
        .split_whitespace()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
}

#[track_caller]
fn no_secret(place: &str, text: &str) {
    for secret in [SECRET, SECRET_OF_ENVIRONMENT] {
        let found = text.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "a secret is in {place}");
    }
}

/// In no file of a directory; segments are large, and grep is quick.
#[track_caller]
fn below(directory: &Path) {
    let mut grep = Command::new("grep");
    grep.args([
        "-r",
        "-l",
        "-a",
        "-F",
        "-e",
        SECRET,
        "-e",
        SECRET_OF_ENVIRONMENT,
    ])
    .arg(directory);
    let found = grep.args(["--devices", "skip"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&found.stdout),
        "",
        "files with a secret"
    );
    // `/files` is no place where anything is kept, and root is no component: it may not look.
    for line in String::from_utf8_lossy(&found.stderr).lines() {
        assert!(line.ends_with("/files: Permission denied"), "{line}");
    }
}
