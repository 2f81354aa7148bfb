//! What happens when the broker dies, the disk fills up or somebody lays hands on the files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Place, decision, fill, options};
use rumi_audit::query::{Filter, scan};
use rumi_audit::{Durability, Failure, Log, OpenError, Outcome, Unavailable};

const CHILD: &str = "RUMI_AUDIT_TEST_CHILD";
const POWER: &str = "RUMI_AUDIT_TEST_POWER";

/// Runs in a process of its own: writes until it is killed, and says what was acknowledged.
#[test]
fn child_that_writes() {
    let Some(root) = std::env::var_os(CHILD) else {
        return;
    };
    let mut options = options(Path::new(&root));
    if std::env::var_os(POWER).is_some() {
        options.durability = Durability::Power;
    }
    let log = Log::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let writers: Vec<_> = (0..4_usize)
            .map(|writer| tokio::spawn(write_on(log.clone(), writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
    // Only reached when the log has failed: it must stay so.
    assert!(log.health().is_err());
    assert!(log.flush().is_err());
    assert!(log.close().is_err());
    println!("\nfailed closed");
}

/// Writes records of many sizes until the log refuses, then makes sure that it goes on refusing.
async fn write_on(log: Log, writer: usize) {
    for number in 0.. {
        let target = "x".repeat(number * 37 % 5000 + writer);
        let Ok(recorded) = log.record(decision(target.as_bytes()), ()).await else {
            break;
        };
        acknowledge("decision", recorded.id().as_str());
        match recorded.finish(Outcome::success(0, 1)).await {
            Ok(id) => acknowledge("outcome", id.as_str()),
            Err(_) => break,
        }
    }
    for _ in 0..10 {
        let refused = log.record(decision(b"/x"), ()).await;
        assert!(matches!(refused, Err(Unavailable::Failed(_))));
    }
}

fn acknowledge(phase: &str, id: &str) {
    let line = format!("\nack {phase} {id} .\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn child(root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "crashes::child_that_writes",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn acknowledged(line: &str) -> Option<(String, String)> {
    let mut words = line.strip_prefix("ack ")?.strip_suffix(" .")?.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn written(place: &Place) -> HashSet<(String, String)> {
    scan(&place.dir(), &Filter::default())
        .unwrap()
        .map(|record| {
            let fields = record.unwrap().fields;
            let text = |name: &str| fields[name].as_str().unwrap().to_owned();
            (text("phase"), text("id"))
        })
        .collect()
}

fn kill_rounds(rounds: u64, power: bool) {
    let place = Place::new();
    let mut promised = HashSet::new();
    for round in 0..rounds {
        let mut command = child(place.root());
        if power {
            command.env(POWER, "1");
        }
        let mut running = command.spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        // Wait for a first record, so that no round kills a process that has not begun.
        let first = lines.by_ref().find_map(|line| acknowledged(&line.unwrap()));
        promised.insert(first.unwrap());
        let deadline = Instant::now() + Duration::from_micros(round * 1_931 % 40_000);
        for line in lines.by_ref() {
            promised.extend(acknowledged(&line.unwrap()));
            if Instant::now() >= deadline {
                break;
            }
        }
        running.kill().unwrap();
        running.wait().unwrap();
        promised.extend(lines.filter_map(|line| acknowledged(&line.unwrap_or_default())));
    }
    drop(place.open());
    let written = written(&place);
    let lost: Vec<_> = promised.difference(&written).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        promised.len()
    );
    assert!(promised.len() as u64 > rounds);
    place.assert_good();
}

#[test]
fn fifty_kills_lose_no_acknowledged_record() {
    kill_rounds(50, false);
}

#[test]
fn kills_under_power_durability_lose_no_acknowledged_record() {
    kill_rounds(10, true);
}

#[test]
fn a_full_disk_fails_closed_and_is_recovered_from() {
    let place = Place::new();
    // A limit on the size of files stands for the disk: it cuts a write short and then refuses the rest.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 160; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crashes::child_that_writes",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, place.root());
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("failed closed"), "{said}");
    let promised: HashSet<_> = said.lines().filter_map(acknowledged).collect();
    assert!(promised.len() > 10);
    let torn = fs::read(place.segments().pop().unwrap()).unwrap();
    assert_ne!(
        torn.last(),
        Some(&b'\n'),
        "the limit should have cut a record"
    );
    place.assert_bad("a torn line", None, None);

    drop(place.open());
    assert!(promised.is_subset(&written(&place)));
    place.assert_good();
}

#[test]
fn a_file_system_without_space_fails_closed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let small = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        let status = Command::new(args[0])
            .args(&args[1..])
            .arg(small.path())
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=600k", "rumi-audit-test"]);
    let output = child(small.path()).output();
    // Started on what is full: refused with the cause, not half-opened.
    let full = Log::open({
        let mut options = options(small.path());
        options.segment_bytes = 8 << 20;
        options
    });
    mount(&["umount"]);
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("failed closed"), "{output:?}");
    assert!(matches!(full, Err(OpenError::Io { .. })), "{full:?}");
}

async fn refused_within_a_second(log: &Log, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Err(Unavailable::Failed(failure)) =
            log.record_denial(decision(b"/x"), "no_grant").await
        {
            assert!(
                matches!(&*failure, Failure::Tampered { .. }),
                "{what}: {failure}"
            );
            assert!(log.record(decision(b"/x"), ()).await.is_err(), "{what}");
            return;
        }
    }
    panic!("{what}: not noticed within a second");
}

#[tokio::test]
async fn files_that_change_under_the_broker_end_the_log() {
    type Mischief = fn(&Path);
    let cases: [(&str, Mischief); 7] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("rotated", |path| {
            fs::rename(path, path.with_extension("1")).unwrap()
        }),
        ("rotated and made anew", |path| {
            fs::rename(path, path.with_extension("1")).unwrap();
            fs::write(path, b"").unwrap();
        }),
        ("replaced by a copy", |path| {
            fs::copy(path, path.with_extension("1")).unwrap();
            fs::rename(path.with_extension("1"), path).unwrap();
        }),
        ("truncated", |path| {
            OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(10)
                .unwrap()
        }),
        ("appended to", |path| {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b"{}\n").unwrap();
        }),
        ("moved with its directory", |path| {
            let dir = path.parent().unwrap();
            fs::rename(dir, dir.with_extension("old")).unwrap();
        }),
    ];
    for (what, mischief) in cases {
        let place = Place::new();
        let log = place.open();
        fill(&log, 3).await;
        let open = log.record(decision(b"/open"), ()).await.unwrap();
        mischief(&place.segments()[0]);
        refused_within_a_second(&log, what).await;
        assert!(open.finish(Outcome::success(0, 0)).await.is_err(), "{what}");
        assert!(log.lost() > 0, "{what}");
    }
}

#[tokio::test]
async fn a_torn_line_is_kept_cut_and_told() {
    for torn in [
        &b"{\"v\":1,\"seq\":"[..],
        &[0; 5000],
        &[b'x'; 200_000],
        b"{",
    ] {
        let place = Place::new();
        let log = place.open();
        fill(&log, 3).await;
        drop(log);
        let path = place.segments()[0].clone();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], torn].concat()).unwrap();
        place.assert_bad("torn", Some(7), None);
        drop(place.open());
        place.assert_good();
        let filter = Filter {
            phase: Some("recovered".to_owned()),
            ..Filter::default()
        };
        let told: Vec<_> = scan(&place.dir(), &filter)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(told.len(), 1);
        let detail = &told[0].fields["detail"];
        assert_eq!(detail["cut_bytes"], torn.len());
        let kept = place.dir().join(detail["kept_as"].as_str().unwrap());
        assert_eq!(fs::read(kept).unwrap(), torn);
        // A second start finds nothing to do.
        drop(place.open());
        assert_eq!(place.assert_good().records, 8);
    }
}

#[tokio::test]
async fn a_bad_line_with_an_end_is_not_taken_for_a_torn_one() {
    let place = Place::new();
    drop(place.open());
    let path = place.segments()[0].clone();
    let whole = fs::read(&path).unwrap();
    for bad in [&b"{\"v\":1\n"[..], b"\n", b"\0\0\0\n\0\0"] {
        fs::write(&path, [&whole[..], bad].concat()).unwrap();
        let refused = Log::open(place.options());
        assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
    }
}

/// The states that a crash while a log or a segment is made can leave.
#[tokio::test]
async fn a_crash_while_files_are_made_is_recovered_from() {
    let segment = |place: &Place, name: &str| -> PathBuf { place.dir().join(name) };
    let place = Place::new();
    drop(place.open());
    let first = place.segments()[0].clone();
    let whole = fs::read(&first).unwrap();
    for left in [None, Some(0), Some(20), Some(whole.len())] {
        fs::remove_file(place.dir().join("checkpoint")).unwrap();
        match left {
            None => fs::remove_file(&first).unwrap(),
            Some(length) => fs::write(&first, &whole[..length]).unwrap(),
        }
        drop(place.open());
        place.assert_good();
    }
    for left in [&b""[..], b"{\"v\":1,"] {
        let place = Place::new();
        let log = place.open();
        fill(&log, 300).await;
        drop(log);
        let records = place.assert_good().records;
        fs::write(segment(&place, &format!("log-{records:020}.jsonl")), left).unwrap();
        let log = place.open();
        fill(&log, 200).await;
        drop(log);
        assert!(place.assert_good().records > records);
    }
}

#[tokio::test]
async fn starting_again_needs_the_same_key() {
    let place = Place::new();
    let log = place.open();
    fill(&log, 2).await;
    drop(log);
    let key = fs::read(place.key()).unwrap();
    let refused = |why: &str| {
        let refused = Log::open(place.options());
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
    };
    fs::remove_file(place.key()).unwrap();
    refused("it is missing, but the log that it signs is there");
    drop(Place::open(&Place::new()));
    let other = Place::new();
    drop(other.open());
    fs::copy(other.key(), place.key()).unwrap();
    refused("no signature on the checkpoint is by this key");
    fs::write(place.key(), b"junk").unwrap();
    refused("it is no Ed25519 key");
    fs::write(place.key(), &key).unwrap();
    let permit = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(place.key(), mode).unwrap();
    };
    permit(0o640);
    refused("run `chmod 600");
    permit(0o600);
    // Another name in the options does not rename a log that is there; a lost public key is written again.
    fs::remove_file(place.public()).unwrap();
    let mut options = place.options();
    options.origin = "rumi/renamed".to_owned();
    let log = Log::open(options).unwrap();
    assert_eq!(log.public_key().name(), "rumi/test");
    drop(log);
    place.assert_good();
}
