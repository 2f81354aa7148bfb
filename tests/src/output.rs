//! What a program left behind when it ended.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// Exit code and streams of a program that has ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Output {
    /// Runs a program to its end.
    pub fn of(command: &mut Command) -> Self {
        let ran = command.stdin(Stdio::null()).output();
        let ran = ran.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self {
            code: ran.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }

    /// Runs a program to its end and gives it this to read.
    pub fn fed(command: &mut Command, input: &[u8]) -> Self {
        let process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = process.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        if let Some(mut stdin) = process.stdin.take() {
            // A program may refuse before it has read everything.
            stdin.write_all(input).unwrap_or_default();
        }
        let ran = process.wait_with_output().expect("it ends");
        Self {
            code: ran.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }

    /// Both streams, for searching.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Ends the test unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Ends the test unless the program ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code; it said:\n{}", self.text());
        self
    }

    /// Ends the test unless all of these stand in what it said.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        let text = self.text();
        for part in parts {
            assert!(text.contains(part), "`{part}` is missing in:\n{text}");
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}", self.text()))
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Output {
    Output::of(command)
}
