//! `packctl doctor` finds what is wrong, and names a remedy for each.

use std::process::Command;

use rumi_tests::{Broker, Home, Output, eventually};
use serde_json::{Value, json};

fn findings(broker: &Broker) -> (i32, Vec<Value>) {
    let ended = broker.packctl(&["doctor", "-o", "json"]);
    (ended.code, ended.json().as_array().unwrap().clone())
}

/// The finding that says this, which has a remedy.
#[track_caller]
fn found<'a>(findings: &'a [Value], level: &str, words: &str) -> &'a Value {
    let fits = |finding: &&Value| {
        finding["level"] == level && finding["message"].as_str().unwrap().contains(words)
    };
    let finding = findings.iter().find(fits);
    let finding = finding.unwrap_or_else(|| panic!("no {level} with `{words}` in {findings:#?}"));
    assert!(
        finding["remedy"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{finding}"
    );
    finding
}

/// Writes where the container's first process writes its own words.
pub(crate) fn say_in(container: &str, words: &str) {
    let mut inspect = Command::new("docker");
    inspect.args(["inspect", "--format", "{{.State.Pid}}", container]);
    let pid = Output::of(&mut inspect).ok().stdout;
    let stderr = format!("/proc/{}/fd/2", pid.trim());
    let mut stderr = std::fs::File::options().write(true).open(stderr).unwrap();
    std::io::Write::write_all(&mut stderr, words.as_bytes()).unwrap();
}

#[test]
fn every_warning_and_error_has_a_remedy_and_a_sound_host_has_no_errors() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let (code, all) = findings(&broker);
    for finding in &all {
        let sound = finding["level"] == "ok";
        let remedy = finding["remedy"].as_str().unwrap_or_default();
        assert_eq!(sound, remedy.is_empty(), "{finding}");
    }
    for subject in [
        "engine",
        "base image",
        "audit log",
        "policy",
        "memory",
        "pack",
    ] {
        assert!(
            all.iter().any(|one| one["subject"] == subject),
            "nothing about {subject}: {all:#?}"
        );
    }
    assert_eq!(code, 0, "{all:#?}");
}

#[test]
fn a_missing_and_an_invalid_grant_are_found_and_the_printed_remedy_helps() {
    let broker = Broker::start(Home::new());
    let (_, all) = findings(&broker);
    let missing = found(&all, "warning", "`probe:tool:do` has no valid grant");
    assert!(
        missing["remedy"]
            .as_str()
            .unwrap()
            .starts_with("packctl grant add probe:tool:do ")
    );
    broker.grant(
        "probe:tool:do",
        &json!({"env_read": {"enabled": true, "allowed_keys": ["KEY"]}}),
    );
    broker.changed(|home| {
        std::fs::write(home.grant_file("probe:tool:other"), "{\n\"a\": 1}").unwrap()
    });
    let (code, all) = findings(&broker);
    assert_eq!(code, 1);
    found(&all, "error", "grants/probe:tool:other.json");
    assert!(!all.iter().any(|one| {
        one["message"]
            .as_str()
            .unwrap()
            .contains("`probe:tool:do` has no")
    }));
}

#[test]
fn a_container_that_failed_is_found_with_its_last_words() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    // Something it says before it is ended.
    let container = broker.containers().pop().unwrap();
    say_in(&container, "farewell\n");
    let mut kill = Command::new("docker");
    Output::of(kill.args(["kill", &container])).ok();
    let mut all = Vec::new();
    eventually("the failure to be found", || {
        all = findings(&broker).1;
        all.iter()
            .any(|one| one["message"].as_str().unwrap().contains("`probe` failed"))
    });
    let failed = found(&all, "error", "`probe` failed");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("137") && message.contains("last words"),
        "{message}"
    );
    assert!(message.contains("farewell"), "{message}");
    let remedy = failed["remedy"].as_str().unwrap();
    assert!(remedy.contains("packctl up probe"), "{remedy}");
    broker.packctl(&["doctor"]).exits(1);
    // The remedy helps.
    for command in remedy.split("; ") {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        broker.packctl(&words).ok();
    }
    assert_eq!(broker.probe("echo", &json!([1])).data(), &json!(1));
    assert_eq!(broker.containers().len(), 1);
    broker.packctl(&["doctor"]).ok();
}

#[test]
fn without_a_broker_it_says_what_can_be_said_and_exits_with_5() {
    let home = Home::new();
    let all = home.packctl(&["doctor", "-o", "jsonl"]).exits(5);
    let all: Vec<Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let away = found(&all, "error", "control.sock");
    let remedy = away["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("rumi-broker") && remedy.contains("--home"),
        "{remedy}"
    );
    for subject in ["engine", "root", "openat2", "cgroups", "policy"] {
        assert!(
            all.iter().any(|one| one["subject"] == subject),
            "nothing about {subject}"
        );
    }
}
