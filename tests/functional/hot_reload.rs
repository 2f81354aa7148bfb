//! Changed policy files take effect within a second, whichever way they change, and whatever
//! is under way ends with what allowed it.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, Peer, within};
use serde_json::{Value, json};

const COMPONENT: &str = "probe:tool:do";
const OTHER: &str = "probe:tool:other";
/// What is promised.
const SOON: Duration = Duration::from_secs(1);

/// One broker whose policy only one test at a time may change.
fn alone() -> MutexGuard<'static, Broker> {
    static BROKER: OnceLock<Mutex<Broker>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| {
        let broker = Broker::start(Home::new());
        broker.up(&["probe"]);
        broker.home().file("file", "content");
        Mutex::new(broker)
    });
    let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    // From nothing, so that no test hangs on another's grants.
    for entry in fs::read_dir(broker.home().path().join("grants")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let scope = "scopes/file_read.json";
    fs::copy(
        rumi_tests::repository().join(scope),
        broker.home().path().join(scope),
    )
    .unwrap();
    let peer = broker.as_component(COMPONENT);
    within(Duration::from_secs(3), "no grant", || {
        reason(&broker, &peer) == "no_grant"
    });
    broker
}

fn reading(home: &Home) -> Value {
    json!({"file_read": {"enabled": true, "directories": [home.data("")]}})
}

fn document(home: &Home, component: &str) -> String {
    json!({"component_id": component, "permissions": reading(home)}).to_string()
}

/// The reason why the file cannot be read; empty when it can.
fn reason(broker: &Broker, peer: &Peer) -> String {
    let reply = peer.json(
        "FileRead",
        &json!({"path": broker.home().base().join("data/file")}),
    );
    if reply.status == 200 {
        return String::new();
    }
    reply.reason()
}

fn expect_soon(broker: &Broker, component: &str, expected: &str) {
    let peer = broker.as_component(component);
    within(SOON, &format!("`{component}` to see `{expected}`"), || {
        reason(broker, &peer) == expected
    });
}

#[test]
fn a_grant_renamed_into_its_place_takes_effect() {
    let broker = alone();
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    broker.home().grant(COMPONENT, &json!({}));
    expect_soon(&broker, COMPONENT, "no_grant");
}

#[test]
fn a_grant_truncated_and_written_anew_takes_effect() {
    let broker = alone();
    let path = broker.home().grant_file(COMPONENT);
    fs::write(&path, document(broker.home(), COMPONENT)).unwrap();
    expect_soon(&broker, COMPONENT, "");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"component_id\": \"probe:to").unwrap();
    file.sync_all().unwrap();
    // Half of a grant grants nothing.
    expect_soon(&broker, COMPONENT, "grant_invalid");
    file.write_all(b"ol:do\", \"permissions\": {}}").unwrap();
    drop(file);
    expect_soon(&broker, COMPONENT, "no_grant");
    fs::write(&path, document(broker.home(), COMPONENT)).unwrap();
    expect_soon(&broker, COMPONENT, "");
}

#[test]
fn a_directory_that_is_deleted_and_made_again_is_followed() {
    let broker = alone();
    let grants = broker.home().path().join("grants");
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    for _ in 0..3 {
        fs::remove_dir_all(&grants).unwrap();
        expect_soon(&broker, COMPONENT, "no_grant");
        fs::create_dir(&grants).unwrap();
        broker.home().grant(COMPONENT, &reading(broker.home()));
        expect_soon(&broker, COMPONENT, "");
    }
    // Another directory moved into its place.
    let other = broker.home().path().join("grants.new");
    fs::create_dir(&other).unwrap();
    fs::rename(&grants, broker.home().path().join("grants.old")).unwrap();
    fs::rename(&other, &grants).unwrap();
    expect_soon(&broker, COMPONENT, "no_grant");
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    fs::remove_dir_all(broker.home().path().join("grants.old")).unwrap();
}

#[test]
fn a_thousand_files_at_once_take_effect() {
    let broker = alone();
    for number in 0..1_000 {
        let component = format!("many:tool:t{number}");
        broker.home().grant(&component, &reading(broker.home()));
    }
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    for number in 0..1_000 {
        broker.home().ungrant(&format!("many:tool:t{number}"));
    }
    broker.home().ungrant(COMPONENT);
    expect_soon(&broker, COMPONENT, "no_grant");
}

#[test]
fn more_events_than_the_kernel_keeps_hide_no_change() {
    let broker = alone();
    let storm = broker.home().path().join("grants/.storm");
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // A stopped broker reads no events, so the queue does overflow.
    let pid = rustix::process::Pid::from_raw(i32::try_from(broker.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    for _ in 0..limit {
        fs::write(&storm, "").unwrap();
        fs::remove_file(&storm).unwrap();
    }
    broker.home().grant(COMPONENT, &reading(broker.home()));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    expect_soon(&broker, COMPONENT, "");
}

#[test]
fn a_broken_grant_denies_its_component_alone_and_is_named_with_its_line() {
    let broker = alone();
    let home = broker.home();
    home.grant(OTHER, &reading(home));
    let granted = document(home, COMPONENT);
    let named = |id: &str| granted.replace(COMPONENT, id);
    let cases = [
        ("{", "line 1"),
        ("", "the file is empty"),
        ("[]", "object"),
        (
            "{\"component_id\": \"probe:tool:do\",\n\"permissions\": {\"file_reed\": {}}}",
            "file_reed",
        ),
        (
            "{\"component_id\": \"probe:tool:do\", \"permissions\": {}, \"extra\": 1}",
            "extra",
        ),
        (
            "{\"component_id\": \"probe:tool:do\", \"permissions\": {}, \"permissions\": {}}",
            "permissions",
        ),
        (&named(OTHER), "component_id"),
        (&granted.replace("true", "\"yes\""), "enabled"),
        (&granted.replace("[\"/", "[\"../"), "directories"),
        ("\u{feff}{}", "line 1"),
    ];
    for (text, part) in cases {
        fs::write(home.grant_file(COMPONENT), text).unwrap();
        expect_soon(&broker, COMPONENT, "grant_invalid");
        assert_eq!(reason(&broker, &broker.as_component(OTHER)), "", "{text}");
        let file = format!("grants/{COMPONENT}.json");
        broker.packctl(&["grant", "lint"]).exits(1).says(&[&file]);
        names_the_fault(&broker, &file, part);
        // Back to what is valid: it works at once, and nothing was lost.
        fs::write(home.grant_file(COMPONENT), &granted).unwrap();
        expect_soon(&broker, COMPONENT, "");
    }
    broker.packctl(&["grant", "lint"]).ok();
}

/// Waits for the line, because a file that is being written is read half-written, too.
#[track_caller]
fn names_the_fault(broker: &Broker, file: &str, part: &str) {
    rumi_tests::eventually(&format!("`{file}` refused for {part}"), || {
        let log = broker.log();
        let refused = log.lines().rfind(|line| line.contains("refused"));
        refused.is_some_and(|line| line.contains(file) && line.contains(part))
    });
}

#[test]
fn a_broken_scope_denies_its_permission_and_no_other() {
    let broker = alone();
    let home = broker.home();
    let mut permissions = reading(home);
    permissions["file_write"] = json!({"enabled": true, "directories": [home.data("")]});
    home.grant(COMPONENT, &permissions);
    expect_soon(&broker, COMPONENT, "");
    let path = home.path().join("scopes/file_read.json");
    let good = fs::read_to_string(&path).unwrap();
    for (text, part) in [
        ("{", "line 1"),
        (&good.replacen("{", "{\"unknown\": 1,", 1), "unknown"),
    ] {
        fs::write(&path, text).unwrap();
        expect_soon(&broker, COMPONENT, "scope_invalid");
        let written = home.base().join("data/written");
        let message = json!({"path": written, "data": "eA=="});
        broker
            .as_component(COMPONENT)
            .json("FileWrite", &message)
            .ok();
        broker
            .packctl(&["grant", "lint"])
            .exits(1)
            .says(&["scopes/file_read.json"]);
        names_the_fault(&broker, "scopes/file_read.json", part);
    }
    fs::remove_file(&path).unwrap();
    expect_soon(&broker, COMPONENT, "scope_invalid");
    fs::write(&path, good).unwrap();
    expect_soon(&broker, COMPONENT, "");
}

#[test]
fn each_policy_in_force_is_in_the_log_and_decisions_name_it() {
    let broker = alone();
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    let policy = broker.policy();
    let audit = broker.audit();
    assert!(
        audit
            .iter()
            .any(|record| record["phase"] == "policy" && record["policy"] == json!(policy))
    );
    let decision = audit
        .iter()
        .rfind(|record| record["phase"] == "decision")
        .unwrap();
    assert_eq!(decision["policy"], json!(policy));
}

/// Reads what comes, slowly at first, until it ends.
fn drain(stream: &mut impl std::io::Read) -> u64 {
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return total,
            Ok(length) => total += u64::try_from(length).unwrap(),
        }
    }
}

#[test]
fn a_download_is_cut_when_its_grant_goes() {
    let broker = alone();
    let home = broker.home();
    home.grant(COMPONENT, &reading(home));
    expect_soon(&broker, COMPONENT, "");
    let size = 512 << 20;
    let path = home.file("huge", "");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size)
        .unwrap();
    let mut stream = broker.as_component(COMPONENT).connect().unwrap();
    let head = format!(
        "GET /files?path={} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        path.display()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 65_536]).unwrap();
    home.ungrant(COMPONENT);
    expect_soon(&broker, COMPONENT, "no_grant");
    std::thread::sleep(SOON);
    let came = drain(&mut stream);
    assert!(came < size / 4, "{came} bytes still came");
    let outcome = |broker: &Broker| {
        let audit = broker.audit();
        let id = audit
            .iter()
            .find(|record| record["target"] == json!(path))?["id"]
            .clone();
        audit
            .into_iter()
            .find(|record| record["phase"] == "outcome" && record["id"] == id)
    };
    rumi_tests::eventually("the outcome of the download", || outcome(&broker).is_some());
    assert_eq!(outcome(&broker).unwrap()["reason"], "revoked");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_command_is_ended_when_its_grant_goes() {
    let broker = alone();
    let home = broker.home();
    let directory = home.data("work");
    home.grant(COMPONENT, &json!({
        "file_read": reading(home)["file_read"],
        "terminal": {"enabled": true, "directories": [directory], "allowed_commands": ["sleep"]},
    }));
    expect_soon(&broker, COMPONENT, "");
    let peer = broker.as_component(COMPONENT);
    let message = json!({"argv": ["sleep", "25"], "directory": directory});
    std::thread::scope(|scope| {
        let running = scope.spawn(|| (peer.json("TerminalRun", &message).ok(), Instant::now()));
        let sandbox = || {
            let mut listing = std::process::Command::new("docker");
            let label = format!("label=rumi.instance={}", home.instance());
            rumi_tests::run(listing.args([
                "ps",
                "--quiet",
                "--filter",
                &label,
                "--filter",
                "label=rumi.kind=sandbox",
            ]))
            .stdout
        };
        rumi_tests::eventually("the sandbox to run", || !sandbox().is_empty());
        let revoked = Instant::now();
        home.ungrant(COMPONENT);
        let (reply, ended) = running.join().unwrap();
        assert_eq!(reply["stoppedReason"], "STOPPED_REASON_REVOKED", "{reply}");
        let took = ended.duration_since(revoked);
        assert!(took < Duration::from_secs(3), "{took:?}");
        rumi_tests::eventually("no sandbox left", || sandbox().is_empty());
    });
}

#[test]
fn a_request_opens_no_policy_file() {
    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    let broker = alone();
    broker.home().grant(COMPONENT, &reading(broker.home()));
    expect_soon(&broker, COMPONENT, "");
    let peer = broker.as_component(COMPONENT);
    let opened = |requests: u32| {
        let watch = init(CreateFlags::NONBLOCK).unwrap();
        for directory in ["grants", "scopes"] {
            add_watch(
                &watch,
                broker.home().path().join(directory),
                WatchFlags::OPEN,
            )
            .unwrap();
        }
        for _ in 0..requests {
            assert_eq!(reason(&broker, &peer), "");
            assert_eq!(
                broker
                    .as_component(OTHER)
                    .json("EnvRead", &json!({}))
                    .reason(),
                "no_grant"
            );
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        Reader::new(&watch, &mut buffer).next().is_ok()
    };
    // Everything is read once in 30 s in any case, which may fall into one round.
    assert!(!(0..3).all(|_| opened(20)), "requests open policy files");
    // The watch itself does see who opens one.
    let watch = init(CreateFlags::NONBLOCK).unwrap();
    add_watch(
        &watch,
        broker.home().path().join("grants"),
        WatchFlags::OPEN,
    )
    .unwrap();
    fs::read(broker.home().grant_file(COMPONENT)).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    assert!(Reader::new(&watch, &mut buffer).next().is_ok());
}
