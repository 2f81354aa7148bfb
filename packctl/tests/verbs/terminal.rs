//! What is different on a terminal.

use std::process::Command;

use rumi_proto::v1::{PackDone, Progress, progress::Result as Ending};

use crate::{
    binary::{Host, installed},
    broker::{Broker, Script},
};

/// Runs packctl on a pseudo-terminal and gives all that it showed.
fn shown(host: &Host, args: &str, environment: &[(&str, &str)]) -> String {
    let line = format!("{} {args}", env!("CARGO_BIN_EXE_packctl"));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("RUMI_HOME", host.path("home"))
        .env("RUMI_RUN", host.path("run"))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    if !installed("script") {
        return;
    }
    let host = Host::new();
    assert!(shown(&host, "ps", &[]).contains("\x1b[1;31merror:\x1b[0m "));
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = shown(&host, "ps", &[environment]);
        assert!(text.contains("error: "), "{text}");
        assert!(!text.contains('\x1b'), "{environment:?}: {text:?}");
    }
    assert!(!shown(&host, "--help", &[("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn bars_move_and_packs_cannot_steer_them() {
    if !installed("script") {
        return;
    }
    let host = Host::new();
    let step = |message: &str, result| Progress {
        pack: "a".to_owned(),
        message: message.to_owned(),
        result,
    };
    let _broker = Broker::start(
        host.path("run/control.sock"),
        Script {
            progress: vec![
                step("evil\x1b]0;owned\x07", None),
                step("", Some(Ending::Done(PackDone::default()))),
            ],
            ..Script::default()
        },
    );
    let text = shown(&host, "up a", &[]);
    assert!(text.contains("a: up already"), "{text:?}");
    assert!(
        !text.contains("\x1b]0;") && !text.contains('\x07'),
        "{text:?}"
    );
}
