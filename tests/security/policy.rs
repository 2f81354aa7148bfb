//! Policy files that are not what they should be, and rights that are taken away.

use std::{
    fs,
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use rumi_tests::within;
use serde_json::json;

use crate::yard::yard;

const COMPONENT: &str = "suspects:tool:policy";

#[test]
fn a_grant_file_that_is_not_valid_denies_its_component_and_no_other() {
    let site = crate::yard::site("policy");
    let yard = &site.yard;
    let (peer, home) = (yard.component(COMPONENT), yard.home());
    let path = site.file("file", "inside");
    let reads = format!(
        "{{\"enabled\":true,\"directories\":[\"{}\"]}}",
        site.granted.display()
    );
    let good =
        format!("{{\"component_id\":\"{COMPONENT}\",\"permissions\":{{\"file_read\":{reads}}}}}");
    let read = || peer.json("FileRead", &json!({"path": path}));
    let write = |text: &[u8]| {
        let half = home.path().join("grants/.half");
        fs::write(&half, text).unwrap();
        fs::rename(half, home.grant_file(COMPONENT)).unwrap();
    };
    let cases: [(&str, Vec<u8>); 14] = [
        (
            "another component",
            good.replace(COMPONENT, "suspects:tool:files").into(),
        ),
        (
            "no component",
            good.replace("component_id", "component").into(),
        ),
        ("nothing", Vec::new()),
        ("white space", b" \n".to_vec()),
        ("null", b"null".to_vec()),
        ("half", good.as_bytes()[..good.len() / 2].to_vec()),
        (
            "a double key",
            good.replace("\"enabled\":true", "\"enabled\":true,\"enabled\":true")
                .into(),
        ),
        (
            "a double key, spelled otherwise",
            good.replace(
                "\"enabled\":true",
                "\"enabled\":true,\"\\u0065nabled\":true",
            )
            .into(),
        ),
        (
            "an unknown key",
            good.replace("\"enabled\":true", "\"enabled\":true,\"directory\":\"/\"")
                .into(),
        ),
        (
            "an unknown permission",
            good.replace("\"file_read\"", "\"File-Read\"").into(),
        ),
        ("a wrong type", good.replace("true", "\"true\"").into()),
        (
            "a relative directory",
            good.replace(&format!("[\"{}\"]", site.granted.display()), "[\"data\"]")
                .into(),
        ),
        (
            "more than may be",
            [good.as_bytes(), &vec![b' '; 64 << 20]].concat(),
        ),
        ("no text", [good.as_bytes(), b"\xff"].concat()),
    ];
    for (name, text) in &cases {
        write(good.as_bytes());
        within(Duration::from_secs(2), "the good grant", || {
            read().status == 200
        });
        write(text);
        within(
            Duration::from_secs(2),
            &format!("{name}: a refusal"),
            || read().status != 200,
        );
        assert_eq!(read().reason(), "grant_invalid", "{name}");
        let other = site.peer.json("FileRead", &json!({"path": path}));
        assert_eq!(other.bytes("data"), b"inside", "{name}");
    }
    // Valid, and allows nothing.
    for (name, text) in [
        (
            "no directory",
            good.replace(&format!("[\"{}\"]", site.granted.display()), "[]"),
        ),
        ("not enabled", good.replace("true", "false")),
        (
            "no permission",
            format!("{{\"component_id\":\"{COMPONENT}\",\"permissions\":{{}}}}"),
        ),
    ] {
        write(good.as_bytes());
        within(Duration::from_secs(2), "the good grant", || {
            read().status == 200
        });
        write(text.as_bytes());
        within(
            Duration::from_secs(2),
            &format!("{name}: a refusal"),
            || read().status != 200,
        );
    }
    // A directory, a pipe or a symlink in its place is no grant, and nothing waits for it.
    let file = home.grant_file(COMPONENT);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        ["grant_invalid", "no_grant"].contains(&read().reason().as_str()),
        "{}",
        read().reason()
    );
    fs::remove_dir(&file).unwrap();
}

#[test]
fn a_grant_file_named_for_nobody_widens_nothing() {
    let yard = yard();
    let peer = yard.component("suspects:tool:silent");
    let home = yard.home();
    let path = home.file("outside/names", "outside");
    let grant = json!({
        "component_id": "suspects:tool:silent",
        "permissions": {"file_read": {"enabled": true, "directories": [home.base().join("data/outside")]}},
    });
    let names = [
        "suspects:tool:silent.json.json",
        "suspects_tool_silent.json",
        "SUSPECTS:tool:silent.json",
        "suspects:tool:silent",
        ".suspects:tool:silent.json",
        "suspects:tool:silent .json",
        "suspects:tool:silent.JSON",
        "suspects:tool:*.json",
        "*.json",
        "suspects:tool:silent\n.json",
    ];
    for name in names {
        fs::write(home.path().join("grants").join(name), grant.to_string()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let reply = peer.json("FileRead", &json!({"path": path}));
    assert_eq!(reply.reason(), "no_grant");
    for name in names {
        fs::remove_file(home.path().join("grants").join(name)).unwrap();
    }
}

#[test]
fn a_revoked_grant_cuts_a_running_download_within_a_second() {
    let yard = yard();
    let component = "probe:tool:do";
    let _one = one_at_a_time();
    let peer = yard.component(component);
    let home = yard.home();
    let large = home.file("revoked/large", "");
    fs::File::options()
        .write(true)
        .open(&large)
        .unwrap()
        .set_len(1 << 32)
        .unwrap();
    let permission = json!({"enabled": true, "directories": [home.data("revoked")]});
    yard.grant(component, &json!({"file_read": permission}));
    // Another test may have changed the policy just before.
    within(Duration::from_secs(5), "the grant", || {
        let first = json!({"path": large, "length": "1"});
        peer.json("FileRead", &first).status == 200
    });
    let mut stream = peer.connect().unwrap();
    let head = format!(
        "GET /files?path={} HTTP/1.1\r\nHost: x\r\n\r\n",
        large.display()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = vec![0; 65_536];
    for _ in 0..10 {
        assert_ne!(stream.read(&mut buffer).unwrap(), 0);
    }
    let started = Instant::now();
    home.ungrant(component);
    let mut after = 0_u64;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        after += u64::try_from(read).unwrap();
        rumi_tests::in_time(started, Duration::from_secs(1));
    }
    assert!(after < 1 << 32, "it came whole");
    within(Duration::from_secs(1), "a refusal", || {
        peer.json("FileRead", &json!({"path": large, "length": "1"}))
            .reason()
            == "no_grant"
    });
}

#[test]
fn a_revoked_grant_ends_a_running_command_within_a_second() {
    let yard = yard();
    let component = "probe:tool:do";
    let _one = one_at_a_time();
    let peer = yard.component(component);
    let home = yard.home();
    let directory = home.data("commands");
    let permission =
        json!({"enabled": true, "directories": [directory], "allowed_commands": ["sh"]});
    yard.grant(component, &json!({"terminal": permission}));
    let command = json!({
        "argv": ["sh", "-c", "trap '' TERM; (while :; do date > beat; sleep 0.05; done) & touch begun; wait"],
        "directory": directory, "timeoutMs": 20_000,
    });
    let (reply, ended) = std::thread::scope(|scope| {
        let run = scope.spawn(|| peer.json("TerminalRun", &command));
        within(Duration::from_secs(15), "the command", || {
            directory.join("begun").exists()
        });
        let started = Instant::now();
        home.ungrant(component);
        (run.join().unwrap(), started.elapsed())
    });
    assert_eq!(
        reply.ok()["stoppedReason"],
        json!("STOPPED_REASON_REVOKED"),
        "{}",
        reply.json()
    );
    assert!(ended < Duration::from_secs(1), "{ended:?}");
    let beat = || {
        fs::metadata(directory.join("beat"))
            .and_then(|found| found.modified())
            .ok()
    };
    let last = beat();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(beat(), last, "a child of the command goes on");
    assert_eq!(peer.json("TerminalRun", &command).reason(), "no_grant");
}

/// Tests that change the grant of `probe:tool:do`.
pub fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
