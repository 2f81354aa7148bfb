//! What another process does to the files while they are looked at.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rumi_tests::within;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::yard::{Until, site};

/// How long each race is run.
const RACE: Duration = Duration::from_secs(3);
/// How often the names are swapped at least.
const ROUNDS: usize = 20_000;

#[test]
fn a_file_swapped_with_a_symlink_thousands_of_times_never_shows_the_outside() {
    let site = site("race");
    let file = site.file("file", "inside");
    let folder = site.granted.join("folder");
    fs::create_dir_all(&folder).unwrap();
    site.file("folder/secret", "inside");
    symlink(site.outside.join("secret"), site.granted.join("link")).unwrap();
    symlink(&site.outside, site.granted.join("way out")).unwrap();
    let going = AtomicBool::new(true);
    let rounds = AtomicUsize::new(0);
    let started = Instant::now();
    let mut answered = [0_usize; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |one: &str, other: &str| {
                let (one, other) = (site.granted.join(one), site.granted.join(other));
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            };
            while going.load(Ordering::Relaxed) {
                swap("file", "link");
                swap("folder", "way out");
                rounds.fetch_add(2, Ordering::Relaxed);
            }
        });
        let _until = Until(&going);
        let due = || started.elapsed() < RACE || rounds.load(Ordering::Relaxed) < ROUNDS;
        while due() && started.elapsed() < RACE * 5 {
            for path in [&file, &folder.join("secret")] {
                let read = site.peer.json("FileRead", &json!({"path": path}));
                let stream = site.peer.get_file(path, "");
                let written = site.peer.json(
                    "FileWrite",
                    &json!({"path": folder.join("new"), "data": ""}),
                );
                let deleted = site
                    .peer
                    .json("FileDelete", &json!({"path": folder.join("new")}));
                for reply in [&written, &deleted] {
                    assert!(reply.status < 500, "{}", reply.json());
                }
                assert!(read.status < 500, "{}", read.json());
                if read.status == 200 {
                    assert_eq!(read.bytes("data"), b"inside");
                    answered[0] += 1;
                } else {
                    answered[1] += 1;
                }
                assert!(
                    !stream.body.starts_with(b"outside"),
                    "a download of the outside"
                );
            }
        }
    });
    assert!(
        rounds.load(Ordering::Relaxed) >= ROUNDS,
        "{rounds:?} rounds only"
    );
    assert!(
        answered.iter().all(|count| *count > 0),
        "one side was never seen: {answered:?}"
    );
    site.outside_is_untouched();
}

#[test]
fn a_granted_directory_that_was_replaced_is_refused_until_it_is_granted_anew() {
    let site = site("replaced");
    let home = site.yard.home();
    let component = "suspects:tool:swapped";
    let granted = home.data("replaceable");
    let file = home.file("replaceable/secret", "inside");
    let peer = site.yard.component(component);
    let read = || peer.json("FileRead", &json!({"path": file}));
    let permissions = json!({"file_read": {"enabled": true, "directories": [granted]}});
    site.yard.grant(component, &permissions);
    assert_eq!(read().bytes("data"), b"inside");

    // By a symlink to elsewhere.
    let aside = home.base().join("data/aside");
    fs::rename(&granted, &aside).unwrap();
    symlink(&site.outside, &granted).unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let reply = read();
        assert!(
            reply.status != 200 || reply.bytes("data") == b"inside",
            "{}",
            reply.json()
        );
    }
    assert_eq!(read().code(), "failed_precondition");

    // By another directory of the same name.
    fs::remove_file(&granted).unwrap();
    home.data("replaceable");
    home.file("replaceable/secret", "outside");
    within(Duration::from_secs(1), "a refusal", || read().status != 200);
    assert_eq!(read().code(), "failed_precondition");

    site.yard.ungrant(component);
    site.yard.grant(component, &permissions);
    assert_eq!(read().bytes("data"), b"outside");
    site.yard.ungrant(component);
}
