//! `packctl audit …`, on a log that the audit crate wrote.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    process::Stdio,
};

use rumi_audit::{Decision, Log, LogOptions, Outcome, Peer};

use crate::binary::Host;

const POLICY: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

fn open(host: &Host) -> Log {
    fs::create_dir_all(host.path("state/keys")).unwrap();
    Log::open(LogOptions::new(
        host.path("state/audit"),
        host.path("state/keys/audit.key"),
        "rumi/test",
    ))
    .unwrap()
}

fn decision<'a>(component: &'a str, permission: &'a str, target: &'a str) -> Decision<'a> {
    Decision {
        pack: component.split(':').next().unwrap(),
        component,
        container: None,
        peer: Peer {
            uid: 200_000,
            pid: 7,
        },
        invocation: None,
        permission,
        action: match permission {
            "env_read" => "one",
            "network" => "fetch",
            _ => "read",
        },
        target: target.as_bytes(),
        grant: None,
        policy: POLICY,
        detail: None,
    }
}

/// An allowed and a denied request of one component and a denied one of another;
/// gives the ids of the first two.
fn recorded(host: &Host) -> (String, String) {
    let log = open(host);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ids = runtime.block_on(async {
        let allowed = log
            .record(decision("a:tool:t", "file_read", "/srv/docs/a.txt"), ())
            .await
            .unwrap();
        let allowed = allowed.finish(Outcome::success(0, 42)).await.unwrap();
        let denied = log
            .record_denial(
                decision("a:tool:t", "file_read", "/etc/shadow\x1b[2J\nforged"),
                "outside_directory",
            )
            .await
            .unwrap();
        log.record_denial(
            decision("b:tool:u", "env_read", "SECRET"),
            "key_not_allowed",
        )
        .await
        .unwrap();
        (allowed.to_string(), denied.to_string())
    });
    log.close().unwrap();
    ids
}

fn count(host: &Host, filters: &[&str]) -> usize {
    let mut args = vec!["audit", "query", "-o", "jsonl"];
    args.extend(filters);
    host.expect(&args, 0).stdout.lines().count()
}

#[test]
fn queries_filter_by_every_field() {
    let host = Host::new();
    let (_, denied) = recorded(&host);
    let all = count(&host, &[]);
    assert!(all >= 4);
    for (filters, matches) in [
        (&["--decision", "deny"][..], 2),
        (&["--decision", "allow"], 1),
        (&["--decision", "deny", "--pack", "a"], 1),
        (&["--component", "a:tool:t"], 3),
        (&["--permission", "env_read"], 1),
        (&["--reason", "outside_directory"], 1),
        (&["--phase", "outcome"], 1),
        (&["--text", "shadow"], 1),
        (&["--text", "nowhere"], 0),
        (&["--decision", "deny", "--since", "1h"], 2),
        (&["--decision", "deny", "--until", "1h"], 0),
        (&["--since", "2999-01-01"], 0),
        (&["--component", "a:tool:t", "--limit", "2"], 2),
    ] {
        assert_eq!(count(&host, filters), matches, "{filters:?}");
    }
    host.expect(&["audit", "query", "--text", "nowhere"], 0)
        .says("no record matches");
    let table = host.expect(&["audit", "query", "--decision", "deny"], 0);
    table
        .prints("TIME")
        .prints(&denied)
        .prints("outside_directory")
        .prints("/etc/shadow\\u{1b}[2J\\nforged");
    assert_eq!(table.stdout.lines().count(), 3);
    let array = host.expect(&["audit", "query", "-o", "json"], 0).json();
    assert_eq!(array.as_array().unwrap().len(), all);
    assert_eq!(
        host.expect(&["audit", "query", "--text", "nowhere", "-o", "json"], 0)
            .stdout,
        "[]\n"
    );
}

#[test]
fn tail_shows_the_last_and_follows() {
    let host = Host::new();
    recorded(&host);
    let last = host.expect(&["audit", "tail", "-n", "1"], 0);
    last.prints("key_not_allowed");
    assert_eq!(last.stdout.lines().count(), 2);
    let mut child = host
        .command(&[
            "audit",
            "tail",
            "-f",
            "-n",
            "1",
            "-o",
            "jsonl",
            "--decision",
            "deny",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("key_not_allowed"));
    let log = open(&host);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(log.record_denial(
            decision("c:tool:v", "network", "https://x.org/"),
            "no_grant",
        ))
        .unwrap();
    let fresh = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(fresh.contains("c:tool:v"), "{fresh}");
}

#[test]
fn show_prints_both_records_and_the_remedy() {
    let host = Host::new();
    let (allowed, denied) = recorded(&host);
    let shown = host
        .expect(&["audit", "show", &allowed, "-o", "json"], 0)
        .json();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert_eq!(shown[0]["decision"], "allow");
    assert_eq!(shown[1]["phase"], "outcome");
    let shown = host.expect(&["audit", "show", &allowed], 0);
    shown
        .prints("phase       decision")
        .prints("phase       outcome")
        .prints("bytes_out");
    assert_eq!(shown.stderr, "");
    let shown = host.expect(&["audit", "show", &denied], 0);
    shown
        .prints("reason      outside_directory")
        .says("hint: packctl grant add a:tool:t file_read ");
    host.expect(&["audit", "show", "0000000000000000"], 4)
        .says("no record `0000000000000000`")
        .says("packctl audit tail");
}

#[test]
fn show_asks_again_where_the_grants_have_changed() {
    let host = Host::new();
    recorded(&host);
    let line = host
        .expect(
            &["audit", "query", "--permission", "env_read", "-o", "jsonl"],
            0,
        )
        .json();
    let id = line["id"].as_str().unwrap().to_owned();
    host.expect(&["audit", "show", &id], 0)
        .says("hint: packctl grant add b:tool:u env_read SECRET");
    host.expect(&["grant", "add", "b:tool:u", "env_read", "SECRET"], 0);
    host.expect(&["audit", "show", &id], 0).says("allowed now");
}

fn copy(host: &Host, to: &str) -> PathBuf {
    let copy = host.path(to);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(host.path("state/audit")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// The file that holds a text, and where in it.
fn find(directory: &PathBuf, text: &str) -> (PathBuf, usize) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes())
        {
            return (path, at);
        }
    }
    panic!("no file holds {text}");
}

#[test]
fn verify_needs_only_the_files_and_the_key() {
    let host = Host::new();
    recorded(&host);
    host.expect(&["audit", "verify"], 0)
        .prints("the log is sound")
        .prints("root ");
    let summary = host.expect(&["audit", "verify", "-o", "json"], 0).json();
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["unsigned"], 0);
    let copied = copy(&host, "copy");
    let key = host.text("state/keys/audit.pub");
    let args = [
        "audit",
        "verify",
        "--dir",
        copied.to_str().unwrap(),
        "--key",
        &key,
        "--home",
        "/nonexistent",
        "--state",
        "/nonexistent",
    ];
    host.expect(&args, 0);
    let (path, at) = find(&copied, "key_not_allowed");
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    let ran = host.expect(&args, 1);
    ran.prints("NOT sound")
        .says("error: ")
        .says(path.to_str().unwrap())
        .says("line ")
        .says("hint: ");
    let mut json = args.to_vec();
    json.extend(["-o", "json"]);
    let finding = host.expect(&json, 1).json();
    assert_eq!(finding["ok"], false);
    assert!(
        finding["seq"].is_u64() && finding["line"].is_u64(),
        "{finding}"
    );
}

#[test]
fn a_cut_log_is_found_by_a_checkpoint_kept_elsewhere() {
    let host = Host::new();
    recorded(&host);
    let early = copy(&host, "early");
    let log = open(&host);
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(log.record_denial(
            decision("c:tool:v", "network", "https://x.org/"),
            "no_grant",
        ))
        .unwrap();
    log.close().unwrap();
    let checkpoint = host.text("state/audit/checkpoint");
    assert!(
        fs::metadata(&checkpoint).is_ok(),
        "{:?}",
        fs::read_dir(host.path("state/audit"))
            .unwrap()
            .collect::<Vec<_>>()
    );
    host.expect(&["audit", "verify", "--last-known", &checkpoint], 0)
        .prints("continues the known checkpoint");
    let args = ["audit", "verify", "--dir", early.to_str().unwrap()];
    host.expect(&args, 0);
    let mut with = args.to_vec();
    with.extend(["--last-known", &checkpoint]);
    host.expect(&with, 1).prints("NOT sound");
}

#[test]
fn what_is_missing_is_named() {
    let host = Host::new();
    for args in [
        &["audit", "tail"][..],
        &["audit", "query"],
        &["audit", "show", "0000000000000000"],
        &["audit", "verify"],
    ] {
        host.expect(args, 4)
            .says("there is no audit log in")
            .says("--state DIR");
    }
    recorded(&host);
    host.expect(&["audit", "verify", "--key", "/nonexistent.pub"], 4)
        .says("`/nonexistent.pub`")
        .says("--key FILE");
    host.write("bad.pub", "no key");
    let bad = host.text("bad.pub");
    host.expect(&["audit", "verify", "--key", &bad], 1)
        .says(&bad);
    host.expect(&["audit", "verify", "--last-known", &bad], 1)
        .says(&bad)
        .says("--last-known FILE");
}
