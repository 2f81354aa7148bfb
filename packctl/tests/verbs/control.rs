//! The verbs that talk to a broker, against the other side of the wire.

use std::{io::Write as _, process::Stdio};

use rumi_proto::v1::{
    CallDenial, CallResponse, ComponentStatus, DoctorResponse, Finding, LogLine, PackDone,
    PackFailed, PackStats, PackStatus, Progress, PsResponse, QuotaStatus, QuotasResponse,
    RunningCommand, StatsResponse, TerminalsResponse, progress::Result as Ending,
};
use tonic::Status;

use crate::{
    binary::{Host, Ran},
    broker::{Broker, Script},
};

fn with(script: Script) -> (Host, Broker) {
    let host = Host::new();
    let broker = Broker::start(host.path("run/control.sock"), script);
    (host, broker)
}

fn step(pack: &str, message: &str) -> Progress {
    Progress {
        pack: pack.to_owned(),
        message: message.to_owned(),
        result: None,
    }
}

fn done(pack: &str, changed: bool) -> Progress {
    Progress {
        result: Some(Ending::Done(PackDone {
            image_id: "sha256:0123456789abcdef".to_owned(),
            container_id: "fedcba9876543210".to_owned(),
            changed,
            duration_ms: 1234,
        })),
        ..step(pack, "")
    }
}

fn failed(pack: &str) -> Progress {
    Progress {
        result: Some(Ending::Failed(PackFailed {
            message: "step 3 of 5 failed".to_owned(),
            remedy: format!("mend docker/packs/{pack}/Dockerfile"),
            last_lines: vec![
                "Collecting nothing".to_owned(),
                "\x1b[31mERROR\x1b[0m no".to_owned(),
            ],
        })),
        ..step(pack, "")
    }
}

#[test]
fn up_shows_plain_lines_off_a_terminal_and_a_table() {
    let (host, broker) = with(Script {
        progress: vec![
            step("a", "building"),
            step("a", "start\x1b[2Jing"),
            done("a", true),
            done("b", false),
        ],
        ..Script::default()
    });
    let ran = host.expect(&["up", "a", "b"], 0);
    ran.says("a: building\n")
        .says("a: start\\u{1b}[2Jing\n")
        .says("a: up (1.2 s)\n")
        .says("b: up already");
    assert_eq!(
        ran.stdout,
        "PACK  STATE       IMAGE         CONTAINER     TOOK\na     up          0123456789ab  fedcba987654  1.2 s\nb     up already  0123456789ab  fedcba987654  1.2 s\n"
    );
    assert_eq!(broker.asked(), [r#"up ["a", "b"]"#]);
    let rows = host.expect(&["up", "-o", "json"], 0).json();
    assert_eq!(rows[0]["image"], "sha256:0123456789abcdef");
    assert_eq!(rows[1]["changed"], false);
    assert_eq!(
        host.expect(&["build", "-o", "jsonl"], 0)
            .stdout
            .lines()
            .count(),
        2
    );
}

#[test]
fn a_failed_build_shows_its_last_lines_and_the_remedy() {
    let (host, _broker) = with(Script {
        progress: vec![failed("bad"), done("good", true)],
        ..Script::default()
    });
    let ran = host.expect(&["build"], 1);
    ran.says("error: pack `bad` could not be built: step 3 of 5 failed")
        .says("  | Collecting nothing\n  | \\u{1b}[31mERROR")
        .says("hint: mend docker/packs/bad/Dockerfile")
        .prints("bad   failed")
        .prints("good  built");
    let rows = host.expect(&["build", "-o", "json"], 1).json();
    assert_eq!(rows[0]["error"], "step 3 of 5 failed");
}

#[test]
fn a_pack_without_an_ending_is_no_success() {
    let (host, _broker) = with(Script {
        progress: vec![step("a", "starting")],
        ..Script::default()
    });
    host.expect(&["up", "a"], 1)
        .says("without saying how it went for `a`");
    host.expect(&["up"], 0)
        .says("there are no packs")
        .says("packctl init PACK");
    host.expect(&["down"], 0).says("nothing is up");
}

#[test]
fn a_stream_that_breaks_keeps_what_was_done() {
    let (host, _broker) = with(Script {
        progress: vec![done("a", true)],
        break_stream: Some(Status::internal(
            "the engine went away\nhint: systemctl start docker",
        )),
        ..Script::default()
    });
    host.expect(&["up"], 1)
        .prints("a     up")
        .says("error: the engine went away\nhint: systemctl start docker\n");
}

#[test]
fn refusals_become_exit_codes() {
    for (status, code, hint) in [
        (Status::not_found("there is no pack `x`"), 4, "packctl ps"),
        (
            Status::permission_denied("uid 1000 is not in the group"),
            3,
            "",
        ),
        (Status::invalid_argument("`x` is no pack"), 2, ""),
        (Status::internal("no engine"), 1, ""),
        (Status::unavailable("the audit log is closed"), 1, ""),
        (Status::unimplemented(""), 1, "different versions"),
    ] {
        let message = status.message().to_owned();
        let (host, broker) = with(Script {
            refuse: Some(status),
            ..Script::default()
        });
        for args in [
            &["ps"][..],
            &["up"],
            &["stats"],
            &["logs", "x"],
            &["call", "x:tool:y"],
            &["doctor"],
        ] {
            let ran = host.expect(args, code);
            assert_eq!(ran.stdout, "");
            ran.says(&format!("error: {message}")).says(hint);
        }
        broker.stop();
    }
}

#[test]
fn ps_lists_components() {
    let (host, broker) = with(Script {
        ps: PsResponse {
            packs: vec![
                PackStatus {
                    pack: "a".to_owned(),
                    state: "running".to_owned(),
                    container_id: "fedcba9876543210".to_owned(),
                    started: "1970-01-01T00:00:01Z".to_owned(),
                    components: vec![ComponentStatus {
                        component_id: "a:tool:t".to_owned(),
                        uid: 200_000,
                        worker_attached: true,
                        spares: 2,
                        calls: 7,
                        service: None,
                    }],
                    ..PackStatus::default()
                },
                PackStatus {
                    pack: "b".to_owned(),
                    state: "failed".to_owned(),
                    message: "out of memory\nforged line".to_owned(),
                    ..PackStatus::default()
                },
            ],
        },
        ..Script::default()
    });
    let ran = host.expect(&["ps", "a", "b"], 0);
    let words: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words.len(), 3, "{ran:#?}");
    assert_eq!(words[1][..2], ["a", "running"]);
    assert_eq!(
        words[1][3..],
        [
            "a:tool:t",
            "200000",
            "attached",
            "2",
            "7",
            "fedcba987654",
            "-"
        ]
    );
    ran.prints("out of memory\\nforged line");
    assert_eq!(broker.asked(), [r#"ps ["a", "b"]"#]);
    let packs = host.expect(&["ps", "-o", "json"], 0).json();
    assert_eq!(packs[0]["components"][0]["calls"], 7);
    assert_eq!(packs[0]["started"], "1970-01-01T00:00:01Z");
    assert_eq!(packs[1]["started"], serde_json::Value::Null);
}

#[test]
fn stats_are_readable_and_exact() {
    let (host, _broker) = with(Script {
        stats: StatsResponse {
            packs: vec![PackStats {
                pack: "a".to_owned(),
                memory_bytes: 3 << 20,
                memory_limit_bytes: 256 << 20,
                memory_peak_bytes: u64::MAX,
                cpu_usage_ns: 1_230_000_000,
                pids: 3,
                pids_limit: 100,
            }],
        },
        ..Script::default()
    });
    host.expect(&["stats"], 0)
        .prints("3.0 MiB")
        .prints("256.0 MiB")
        .prints("1.23 s")
        .prints("3/100");
    let line = host.expect(&["stats", "-o", "jsonl"], 0);
    assert_eq!(line.json()["memory_peak_bytes"], u64::MAX);
}

#[test]
fn quota_shows_what_is_written_and_what_may_be() {
    let status = |name: &str, readable| QuotaStatus {
        component_id: format!("a:tool:{name}"),
        readable,
        bytes: 3 << 20,
        files: 7,
        quota_bytes: 1 << 30,
        quota_files: 100,
    };
    let (host, _broker) = with(Script {
        quotas: QuotasResponse {
            components: vec![status("known", true), status("unknown", false)],
        },
        ..Script::default()
    });
    host.expect(&["quota", "a:tool:known"], 0)
        .prints("3.0 MiB")
        .prints("1.0 GiB")
        .prints("100");
    let unknown = host.expect(&["quota", "a:tool:unknown", "-o", "json"], 0);
    assert!(unknown.stderr.contains("cannot be counted"), "{unknown:?}");
    assert_eq!(unknown.json()[0]["readable"], false);
    host.expect(&["quota", "a:tool:nobody"], 4)
        .says("packctl grant add a:tool:nobody file_write");
}

#[test]
fn commands_that_run_are_shown_escaped_and_stopped_by_id() {
    let (host, broker) = with(Script {
        terminals: TerminalsResponse {
            commands: vec![RunningCommand {
                record: "r1".to_owned(),
                component_id: "a:tool:t".to_owned(),
                argv: vec!["git".to_owned(), "a b".to_owned(), "\x1b[2J".to_owned()],
                directory: "/srv/work".to_owned(),
                mode: "sandbox".to_owned(),
                since_unix_ms: 1,
            }],
        },
        ..Script::default()
    });
    host.expect(&["terminal", "ls"], 0)
        .prints("git 'a b' \\u{1b}[2J")
        .prints("/srv/work");
    let line = host.expect(&["terminal", "ls", "-o", "jsonl"], 0);
    assert_eq!(line.json()["argv"][1], "a b");
    host.expect(&["terminal", "stop", "r1"], 0);
    assert_eq!(broker.asked(), ["terminals", "terminals", "stop r1"]);
    host.expect(&["terminal", "stop"], 2);
}

#[test]
fn logs_are_escaped_line_by_line() {
    let (host, broker) = with(Script {
        logs: vec![
            LogLine {
                time: "2030-01-01T00:00:00.5Z".to_owned(),
                stream: "stdout".to_owned(),
                component_id: "a:tool:t".to_owned(),
                line: "\tone\x1b]0;title\x07".to_owned(),
            },
            LogLine {
                time: "2030-01-01T00:00:01Z".to_owned(),
                stream: "broker".to_owned(),
                component_id: String::new(),
                line: "two".to_owned(),
            },
        ],
        ..Script::default()
    });
    let ran = host.expect(&["logs", "a", "-n", "5", "-f"], 0);
    assert_eq!(
        ran.stdout,
        "2030-01-01T00:00:00.5Z a:tool:t stdout \tone\\u{1b}]0;title\\u{7}\n2030-01-01T00:00:01Z - broker two\n"
    );
    assert_eq!(broker.asked(), ["logs a 5 true"]);
    assert_eq!(
        host.expect(&["logs", "a", "-o", "json"], 0).json()[1]["line"],
        "two"
    );
    assert_eq!(
        host.expect(&["logs", "a", "-o", "jsonl"], 0)
            .stdout
            .lines()
            .count(),
        2
    );
}

fn result(json: &str) -> CallResponse {
    CallResponse {
        result_json: json.to_owned(),
        ..CallResponse::default()
    }
}

#[test]
fn call_prints_the_result_exactly_and_exits_by_it() {
    let denial = CallDenial {
        record: "0123456789abcdef".to_owned(),
        permission: "file_read".to_owned(),
        target: "/x/\x1b[2J".to_owned(),
        reason: "outside_directory".to_owned(),
        remedy: "packctl grant add a:tool:denied file_read /x".to_owned(),
    };
    let (host, broker) = with(Script {
        calls: [
            (
                "a:tool:good",
                CallResponse {
                    stdout: "hello\n\x1b[2Jbye".to_owned(),
                    truncated: true,
                    stopped_reason: "exited".to_owned(),
                    ..result(
                        r#"{"ok":true,"data":{"z":123456789012345678901234567890,"a":"\u001b"}}"#,
                    )
                },
            ),
            (
                "a:tool:bad",
                CallResponse {
                    stopped_reason: "timeout".to_owned(),
                    stderr: "Traceback".to_owned(),
                    ..result(r#"{"ok":false,"error":{"message":"x","type":"ValueError"}}"#)
                },
            ),
            (
                "a:tool:denied",
                CallResponse {
                    denials: vec![denial.clone()],
                    stderr: "Traceback".to_owned(),
                    ..result(r#"{"ok":false,"error":{"message":"no","type":"Denied"}}"#)
                },
            ),
            (
                "a:tool:coped",
                CallResponse {
                    denials: vec![denial],
                    ..result(r#"{"ok":true,"data":1}"#)
                },
            ),
            ("a:tool:mad", result("not json")),
        ]
        .into_iter()
        .map(|(name, reply)| (name.to_owned(), reply))
        .collect(),
        ..Script::default()
    });
    let good = host.expect(
        &[
            "call",
            "a:tool:good",
            "-o",
            "jsonl",
            "--timeout",
            "2s",
            "--args",
            "{\"k\": 1}",
        ],
        0,
    );
    assert_eq!(
        good.stdout,
        "{\"ok\":true,\"data\":{\"z\":123456789012345678901234567890,\"a\":\"\\u001b\"}}\n"
    );
    good.says("note: the tool printed 2 lines; --verbose shows them\n")
        .says("warning: the tool printed more than its limit");
    assert!(!good.stderr.contains("stopped"), "{}", good.stderr);
    assert_eq!(broker.asked(), ["call a:tool:good {\"k\": 1} 2000"]);
    host.expect(&["call", "a:tool:good"], 0)
        .prints("{\n  \"ok\": true,\n  \"data\": {\n    \"z\"");
    host.expect(&["call", "a:tool:good", "--verbose"], 0)
        .says("stdout | hello\nstdout | \\u{1b}[2Jbye\n");
    host.expect(&["call", "a:tool:bad"], 1)
        .prints("ValueError")
        .says("stderr | Traceback\n")
        .says("the call was stopped: its time was up");
    let denied = host.expect(&["call", "a:tool:denied"], 3);
    // A traceback would push the remedy out of sight.
    assert!(!denied.stderr.contains("Traceback"), "{}", denied.stderr);
    denied.says("denied: file_read of `/x/\\u{1b}[2J`: outside_directory (record 0123456789abcdef)\nremedy: packctl grant add a:tool:denied file_read /x\n");
    host.expect(&["call", "a:tool:coped"], 0)
        .says("remedy: packctl grant add a:tool:denied file_read /x");
    host.expect(&["call", "a:tool:mad"], 1).says("not a result");
    host.expect(&["call", "a:tool:none"], 4)
        .says("there is no component `a:tool:none`");
}

#[test]
fn call_takes_arguments_from_files_and_stdin() {
    let (host, broker) = with(Script {
        calls: [("a:tool:t".to_owned(), result(r#"{"ok":true,"data":null}"#))]
            .into_iter()
            .collect(),
        ..Script::default()
    });
    host.write("args.json", "{\"from\": \"file\"}");
    host.write("bad.json", "{\n \"from\": \n}");
    host.expect(&["call", "a:tool:t", "--args", "@args.json"], 0);
    let mut child = host
        .command(&["call", "a:tool:t", "--args", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"from\": \"stdin\"}")
        .unwrap();
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).code, 0);
    host.expect(&["call", "a:tool:t", "--args", "@bad.json"], 2)
        .says("`bad.json`")
        .says("line 3");
    host.expect(&["call", "a:tool:t", "--args", "@none.json"], 1)
        .says("cannot read `none.json`");
    assert_eq!(
        broker.asked(),
        [
            "call a:tool:t {\"from\": \"file\"} 0",
            "call a:tool:t {\"from\": \"stdin\"} 0"
        ]
    );
}

#[test]
fn doctor_shows_what_the_broker_found() {
    let finding = |level: &str, remedy: &str| Finding {
        level: level.to_owned(),
        subject: "engine".to_owned(),
        message: "last words: \x1b[31m".to_owned(),
        remedy: remedy.to_owned(),
    };
    for (level, code) in [("ok", 0), ("warning", 0), ("error", 1)] {
        let (host, _broker) = with(Script {
            doctor: DoctorResponse {
                findings: vec![finding("ok", ""), finding(level, "do this")],
            },
            ..Script::default()
        });
        let ran = host.expect(&["doctor"], code);
        ran.prints(level)
            .prints("hint: do this")
            .prints("last words: \\u{1b}[31m");
        assert_eq!(
            host.expect(&["doctor", "-o", "json"], code).json()[1]["level"],
            level
        );
    }
}

#[test]
fn a_broker_that_goes_away_is_unreachable() {
    use std::os::unix::net::UnixListener;

    let host = Host::new();
    let listener = UnixListener::bind(host.path("run/control.sock")).unwrap();
    std::thread::spawn(move || {
        // Takes the call, says nothing, hangs up.
        for stream in listener.incoming() {
            drop(stream.unwrap());
        }
    });
    for args in [&["ps"][..], &["call", "a:tool:t"], &["up"]] {
        let ran = host.expect(args, 5);
        assert_eq!(ran.stdout, "");
        ran.says("error: the broker ").says("hint: ");
    }
}
