//! What is no regular file, and what a written file may be.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    time::{Duration, Instant},
};

use rumi_tests::run;
use serde_json::json;

use super::{refused, text};
use crate::yard::{Until, site};

#[test]
fn pipes_sockets_and_devices_are_never_opened() {
    let site = site("kinds");
    let made = |kind: &[&str]| {
        let mut arguments = kind.to_vec();
        let path = site.granted.join(arguments.remove(0));
        run(std::process::Command::new("mknod")
            .arg(&path)
            .args(arguments))
        .ok();
    };
    made(&["pipe", "p"]);
    made(&["null", "c", "1", "3"]);
    made(&["zero", "c", "1", "5"]);
    made(&["disk", "b", "254", "0"]);
    let _listener = UnixListener::bind(site.granted.join("socket")).unwrap();
    symlink("pipe", site.granted.join("link")).unwrap();
    for name in ["pipe", "null", "zero", "disk", "socket", "link"] {
        let path = site.granted.join(name);
        let started = Instant::now();
        let read = site.peer.json("FileRead", &json!({"path": path}));
        if name == "link" {
            refused(&read, name);
        } else {
            assert_eq!(
                read.reason(),
                "not_a_file",
                "read `{name}`: {}",
                read.json()
            );
        }
        refused(
            &site.peer.get_file(&path, ""),
            &format!("download `{name}`"),
        );
        for mode in [
            "WRITE_MODE_REPLACE",
            "WRITE_MODE_APPEND",
            "WRITE_MODE_CREATE",
        ] {
            let message = json!({"path": path, "data": "b3duZWQ=", "mode": mode});
            let reply = site.peer.json("FileWrite", &message);
            if name != "link" {
                refused(&reply, &format!("{mode} `{name}`"));
            }
        }
        // Opening a pipe would wait for whoever writes to it.
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "`{name}` held a request up"
        );
    }
    let kinds: Vec<_> = ["pipe", "null", "zero", "disk", "socket"]
        .map(|name| {
            fs::symlink_metadata(site.granted.join(name))
                .unwrap()
                .mode()
                & 0o170_000
        })
        .into();
    assert_eq!(
        kinds,
        [0o010_000, 0o020_000, 0o020_000, 0o060_000, 0o140_000]
    );
}

#[test]
fn a_written_file_gets_no_special_bits_and_the_owner_of_its_directory() {
    let site = site("bits");
    let path = site.file("program", "old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    for mode in ["WRITE_MODE_APPEND", "WRITE_MODE_REPLACE"] {
        let message = json!({"path": path, "data": "bmV3", "mode": mode});
        site.peer.json("FileWrite", &message).ok();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o7000, 0, "{mode}: {:o}", found.mode());
        let parent = fs::metadata(&site.granted).unwrap();
        assert_eq!(
            (found.uid(), found.gid()),
            (parent.uid(), parent.gid()),
            "{mode}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).unwrap();
    }
    let new = site.granted.join("new");
    site.peer
        .json("FileWrite", &json!({"path": new, "data": ""}))
        .ok();
    let found = fs::metadata(&new).unwrap();
    assert_eq!(found.mode() & 0o7022, 0, "{:o}", found.mode());
    let folder = site.granted.join("folder");
    site.peer.json("FileMkdir", &json!({"path": folder})).ok();
    let found = fs::metadata(&folder).unwrap();
    assert_eq!(found.mode() & 0o7022, 0, "{:o}", found.mode());
}

#[test]
fn sparse_growing_and_shrinking_files_do_no_harm() {
    let site = site("sparse");
    let path = site.file("sparse", "");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let reply = site.peer.json("FileRead", &json!({"path": path}));
    refused(&reply, "a file of a tebibyte");
    let part = site.peer.json(
        "FileRead",
        &json!({"path": path, "offset": "1099511627770", "length": "100"}),
    );
    assert_eq!(part.bytes("data"), [0; 6]);
    let far = site.peer.json(
        "FileRead",
        &json!({"path": path, "offset": "18446744073709551615", "length": "18446744073709551615"}),
    );
    assert!(far.status < 500, "{}", far.json());

    file.set_len(1 << 20).unwrap();
    let changing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while changing.load(std::sync::atomic::Ordering::Relaxed) {
                file.set_len(1).unwrap();
                file.set_len(1 << 20).unwrap();
            }
        });
        let _until = Until(&changing);
        for _ in 0..200 {
            // Cut where the file came to its end too early, and never more than was announced.
            let mut stream = site.peer.connect().unwrap();
            let head = format!(
                "GET /files?path={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                text(&path)
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok();
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 200"),
                "{}",
                answer.escape_ascii()
            );
            assert!(answer.len() <= (1 << 20) + 1024, "{} bytes", answer.len());
        }
    });
}

#[test]
fn a_write_that_is_refused_or_cut_leaves_nothing_behind() {
    let site = site("cut");
    let path = site.file("kept", "old");
    let mut stream = site.peer.connect().unwrap();
    let head = format!(
        "PUT /files?path={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        path.display()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 100_000]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(stream);
    rumi_tests::eventually("the half of an upload is gone", || {
        fs::read_dir(&site.granted).unwrap().count() == 1
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    // Announced and never to be: refused before a byte is taken.
    let reply = site.peer.http(
        "PUT",
        &format!("/files?path={}", path.display()),
        &[("Content-Length", "1")],
        b"xy",
    );
    refused(&reply, "two lengths");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}
