//! `packctl secret`: what is read, what is sent, and what is never shown.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use rumi_proto::v1::{SecretEntry, SecretListResponse};

use crate::{
    binary::{Host, installed},
    broker::{Broker, Script},
};

fn listening(host: &Host, script: Script) -> Broker {
    Broker::start(host.path("run/control.sock"), script)
}

/// Runs `packctl secret set` with this input; the exit code and all that was said.
fn set(host: &Host, words: &[&str], input: &[u8]) -> (i32, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_packctl"))
        .args(["secret", "set"])
        .args(words)
        .env("RUMI_HOME", host.path("home"))
        .env("RUMI_RUN", host.path("run"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A refusal may come before the input was read.
    process
        .stdin
        .take()
        .unwrap()
        .write_all(input)
        .unwrap_or_default();
    let output = process.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn a_value_is_piped_and_loses_one_line_end() {
    let host = Host::new();
    let broker = listening(&host, Script::default());
    for (words, input, sent) in [
        (&["NEW"][..], &b"canary\n"[..], "secret set NEW \"canary\""),
        (&["OLD"], b"canary", "secret set OLD \"canary\""),
        (
            &["NEW", "--exact"],
            b"canary\n",
            "secret set NEW \"canary\\n\"",
        ),
        (&["NEW"], b"a\nb\n\n", "secret set NEW \"a\\nb\\n\""),
    ] {
        let (code, said) = set(&host, words, input);
        assert_eq!(code, 0, "{said}");
        assert_eq!(broker.asked().last().unwrap(), sent);
        assert!(!said.contains("canary"), "{said}");
        let verb = if words[0] == "OLD" {
            "replaced"
        } else {
            "kept"
        };
        let done = format!("{verb} `{}`, version 7", words[0]);
        assert!(said.contains(&done), "{said}");
    }
}

#[test]
fn what_is_no_value_is_refused_before_it_is_sent_and_not_repeated() {
    let host = Host::new();
    let broker = listening(&host, Script::default());
    let long = vec![b'x'; 64 * 1024 + 1];
    for (words, input, why) in [
        (&["NAME"][..], &b""[..], "the value is empty"),
        (&["NAME"], b"\n", "the value is empty"),
        (&["NAME"], b"canary\xff", "not UTF-8"),
        (&["NAME"], b"canary\0", "holds a NUL"),
        (&["NAME"], &long, "longer than 65536 bytes"),
        (&["NAME", "canary"], b"", "never from the command line"),
        (&["NAME", "--canary"], b"", "never from the command line"),
        (&["NAME=canary"], b"", "never from the command line"),
        (&["canary-1"], b"x", "only letters, digits and `_`"),
        (&["1canary"], b"x", "begins with a digit"),
        (&[""], b"x", "it is empty"),
    ] {
        let (code, said) = set(&host, words, input);
        assert_eq!(code, 2, "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
        assert!(said.contains("hint: "), "{words:?}: {said}");
        assert!(!said.contains("canary"), "{words:?}: {said}");
    }
    assert_eq!(broker.asked(), [""; 0]);
    host.expect(&["secret", "set"], 2);
    host.expect(&["secret", "rm", "no-name"], 2);
}

#[test]
fn a_value_is_asked_for_at_a_terminal_and_not_shown() {
    if !installed("script") {
        return;
    }
    let host = Host::new();
    let broker = listening(&host, Script::default());
    for (typed, sent) in [
        ("canari\x7fy\r", Some("secret set NAME \"canary\"")),
        ("canary\x03", None),
    ] {
        let line = format!("{} secret set NAME", env!("CARGO_BIN_EXE_packctl"));
        let mut process = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("RUMI_HOME", host.path("home"))
            .env("RUMI_RUN", host.path("run"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Keys that come before the echo is off would be shown: a person waits for the question.
        let mut shown = process.stdout.take().unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("(not shown): ") {
            std::io::Read::read_exact(&mut shown, &mut byte).unwrap();
            text.push(char::from(byte[0]));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut keys = process.stdin.take().unwrap();
        keys.write_all(typed.as_bytes()).unwrap();
        std::io::Read::read_to_string(&mut shown, &mut text).unwrap();
        drop(keys);
        assert_eq!(process.wait().unwrap().success(), sent.is_some(), "{text}");
        assert!(!text.contains("canar"), "{text}");
        match sent {
            Some(sent) => assert_eq!(broker.asked().last().unwrap(), sent),
            None => assert!(text.contains("interrupted; nothing was changed"), "{text}"),
        }
    }
    assert_eq!(broker.asked().len(), 1);
}

#[test]
fn names_and_their_users_are_listed() {
    let host = Host::new();
    let secrets = SecretListResponse {
        secrets: vec![SecretEntry {
            name: "API_TOKEN".to_owned(),
            version: 12,
            changed_unix_ms: 1_000,
            used_by: vec!["a:tool:x".to_owned(), "b:tool:y".to_owned()],
        }],
    };
    let script = Script {
        secrets,
        ..Script::default()
    };
    let _broker = listening(&host, script);
    host.expect(&["secret", "ls"], 0)
        .prints("API_TOKEN  12")
        .prints("a:tool:x, b:tool:y");
    host.expect(&["secret", "ls", "-o", "jsonl"], 0).prints(
        r#"{"name":"API_TOKEN","version":12,"changed_unix_ms":1000,"used_by":["a:tool:x","b:tool:y"]}"#,
    );
    host.expect(&["secret", "rm", "API_TOKEN"], 0)
        .says("warning: the grants of `a:tool:x`, `b:tool:y` still name `API_TOKEN`");
}
