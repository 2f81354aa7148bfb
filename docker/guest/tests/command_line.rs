//! The command line and the list of programs.
#![cfg(test)]

use std::process::Command;

fn guest() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rumi-guest"))
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["worker", "nonsense"],
        &["init", "--worker"],
    ] {
        let output = guest().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("usage:") || text.contains("pack:kind:name"),
            "{text}"
        );
    }
}

#[test]
fn lists_the_programs_of_the_path() {
    let output = guest()
        .arg("programs")
        .env("PATH", "/usr/bin:relative:/missing")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let env = found
        .iter()
        .find(|program| program["name"] == "env")
        .unwrap();
    assert_eq!(env["path"], "/usr/bin/env");
    let real = std::fs::canonicalize("/usr/bin/env").unwrap();
    assert_eq!(env["real"], real.to_str().unwrap());
}
