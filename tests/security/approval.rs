//! Packs that want to run as something else than what was approved.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::Duration,
};

use rumi_tests::{Broker, Home, Peer};
use serde_json::json;

const GOOD: &str = "def run(args):\n    return 'good'\n";
const EVIL: &str = "def run(args):\n    return 'evil'\n";

/// The digest that `approve` needs.
fn digest(broker: &Broker, pack: &str) -> String {
    let shown = broker.must(&["approve", pack, "--show", "-o", "json"]);
    shown.json()[0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_pack_cannot_approve_itself_nor_reach_what_was_approved() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let home = broker.home();
    let all = json!({"enabled": true, "directories": ["/"]});
    broker.grant(
        "probe:tool:do",
        &json!({"file_read": all, "file_write": all}),
    );
    let state = home.state().join("approvals");
    let approval = state.join("probe.json");
    let before = fs::read(&approval).unwrap();
    let code = home.pack("probe").join("probe.py");
    let good = fs::read(&code).unwrap();
    let peer = broker.as_component("probe:tool:do");
    for path in [&approval, &state, &state.join("new.json"), &code] {
        for (method, message) in [
            ("FileRead", json!({"path": path})),
            ("FileList", json!({"path": path})),
            ("FileWrite", json!({"path": path, "data": "b3duZWQ="})),
            ("FileDelete", json!({"path": path})),
            (
                "FileRename",
                json!({"from": path, "to": home.base().join("data/moved")}),
            ),
        ] {
            let reply = peer.json(method, &message);
            assert!((400..500).contains(&reply.status), "{method} {reply:?}");
        }
    }
    // By /files and by what is in its container it is no nearer.
    for path in [
        format!("/files{}", approval.display()),
        approval.display().to_string(),
        home.run().join("control.sock").display().to_string(),
        "/run/rumi/control.sock".to_owned(),
        "/run/rumi/../control.sock".to_owned(),
    ] {
        let called = broker.probe("local", &json!([path]));
        assert_eq!(called.result["ok"], false, "{path}: {called:?}");
    }
    // The admin's service is on the admin's socket alone, and that one is closed to components.
    for method in ["Approve", "Review", "Up"] {
        let body = json!({
            "pack": "probe", "packs": ["probe"], "digest": digest(&broker, "probe"), "approve": true,
        });
        let reply = peer.http(
            "POST",
            &format!("/rumi.v1.Control/{method}"),
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        );
        assert!(reply.status >= 400, "{method} {reply:?}");
    }
    let admins = Peer::new(home.run().join("control.sock"), peer.uid());
    assert!(admins.connect().is_err());
    assert_eq!(fs::read(&approval).unwrap(), before);
    assert_eq!(fs::read(&code).unwrap(), good);
    for (path, mode) in [(&state, 0o700), (&approval, 0o600)] {
        let found = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
}

#[test]
fn files_that_change_while_a_pack_is_started_never_run_unapproved() {
    let home = Home::new();
    home.write_pack("swapped", GOOD);
    // A directory that takes a moment to be read, with the changing file at both its ends.
    for number in 0..300 {
        let text = "x".repeat(4096);
        home.write_file(&format!("docker/packs/swapped/m/{number}.txt"), &text);
    }
    let broker = Broker::start(home);
    broker.must(&["approve", "swapped"]);
    let pack = broker.home().pack("swapped");
    let stop = AtomicBool::new(false);
    let (mut started, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Both are in place at each moment, and mixtures of them are seen by whoever reads slowly.
            let swap = |text: &str| {
                let half = pack.parent().unwrap().join(".swap");
                fs::write(&half, text).unwrap();
                fs::rename(&half, pack.join("tool.py")).unwrap();
            };
            while !stop.load(Ordering::Relaxed) {
                swap(EVIL);
                sleep(Duration::from_micros(700));
                swap(GOOD);
                sleep(Duration::from_millis(2));
            }
        });
        while started < 8 || refused < 8 {
            let up = broker.packctl(&["up", "swapped"]);
            match up.code {
                0 => {
                    started += 1;
                    let called = broker.call("swapped:tool:run", &json!({}));
                    assert_eq!(called.data(), "good");
                    broker.must(&["down", "swapped"]);
                }
                3 => {
                    refused += 1;
                    assert!(broker.containers().is_empty());
                }
                code => panic!("{code}: {}", up.text()),
            }
            assert!(
                started + refused < 400,
                "{started} starts, {refused} refusals"
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Makes an approval something that is not to be believed.
type Spoil = fn(&Path);

const SPOILT: [(&str, Spoil); 7] = [
    ("cut", |file| {
        let good = fs::read(file).unwrap();
        fs::write(file, &good[..good.len() / 2]).unwrap();
    }),
    ("empty", |file| fs::write(file, "").unwrap()),
    ("of another pack", |file| {
        let other = fs::read(file.with_file_name("other.json")).unwrap();
        fs::write(file, other).unwrap();
    }),
    ("open to others", |file| {
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }),
    ("another's", |file| {
        std::os::unix::fs::chown(file, Some(54_321), None).unwrap();
    }),
    ("a link", |file| {
        let kept = file.with_file_name("kept");
        fs::rename(file, &kept).unwrap();
        symlink(kept, file).unwrap();
    }),
    ("a directory", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
];

#[test]
fn an_approval_that_cannot_be_read_starts_nothing() {
    let home = Home::new();
    home.write_pack("other", EVIL);
    let mut broker = Broker::start(home);
    broker.must(&["approve", "probe", "other"]);
    let file = broker.home().state().join("approvals/probe.json");
    for (what, spoil) in SPOILT {
        spoil(&file);
        for arguments in [
            &["up", "probe"][..],
            &["up", "probe", "--yes"],
            &["build", "probe"],
        ] {
            let up = broker.packctl(arguments).exits(1);
            up.says(&["probe.json", "packctl approve probe"]);
        }
        broker.packctl(&["doctor"]).exits(1).says(&["probe.json"]);
        assert!(broker.containers().is_empty(), "{what}");
        broker.restart();
        broker.packctl(&["up", "probe"]).exits(1);
        let shown = broker.must(&["approve", "probe", "--show"]);
        shown.says(&["what was approved cannot be read", "+ file        probe.py"]);
        if fs::symlink_metadata(&file).unwrap().is_dir() {
            broker.packctl(&["approve", "probe"]).exits(1);
            fs::remove_dir(&file).unwrap();
        }
        broker.must(&["approve", "probe"]);
        broker.must(&["build", "probe"]);
    }
    broker.must(&["up", "probe"]);
}

#[test]
fn what_a_pack_is_called_and_asks_for_is_shown_as_data() {
    let home = Home::new();
    home.write_pack("loud", GOOD);
    let mut manifest = Home::manifest("loud");
    manifest["version"] = json!("1.0\u{202e}0.9");
    manifest["requests"] = json!({"loud:tool:run": {
        "file_read": {"directories": ["/srv\u{202e}x"], "exclude": ["a\u{200b}b"]},
    }});
    home.write_manifest("loud", &manifest);
    let padding = " ".repeat(150);
    home.write_file(
        &format!("docker/packs/loud/x{padding}= file nothing else.txt"),
        "",
    );
    home.write_file("docker/packs/loud/hint: packctl approve other", "");
    home.write_file(
        "docker/packs/loud/Dockerfile",
        &format!("FROM rumi-base\nRUN true{padding}&& touch /x \u{2066}\n"),
    );
    let broker = Broker::start(home);
    let up = broker.packctl(&["up", "loud"]).exits(3);
    let shown = broker.must(&["approve", "loud", "--show"]);
    for text in [&up.stderr, &shown.stdout] {
        let steering =
            |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}\u{2066}".contains(c));
        assert!(!text.contains(steering), "{text:?}");
        assert!(!text.contains(&" ".repeat(20)), "{text}");
        assert!(
            text.contains("\\u{202e}") && text.contains("\\u{2066}"),
            "{text}"
        );
        assert!(
            text.contains("  + file        hint: packctl approve other"),
            "{text}"
        );
    }
    let command = format!("packctl approve loud --digest {}", digest(&broker, "loud"));
    assert_eq!(up.stderr.lines().last(), Some(&*format!("hint: {command}")));
    assert_eq!(shown.stdout.lines().last(), Some(&*command));
}
