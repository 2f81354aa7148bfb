//! A component that wants to write more than its quota.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_tests::{Broker, Home, Output, Peer, Reply};
use serde_json::{Value, json};

const COMPONENT: &str = "probe:tool:do";
const BYTES: usize = 1000;

struct Site {
    broker: Broker,
    peer: Peer,
    directory: PathBuf,
}

fn site() -> Site {
    let home = Home::new();
    let directory = home.data("quota");
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let site = Site {
        peer: broker.component(COMPONENT),
        broker,
        directory,
    };
    site.give(BYTES, 5);
    site
}

impl Site {
    fn give(&self, bytes: usize, files: u64) {
        let granted = json!({"file_write": {
            "enabled": true, "directories": [self.directory],
            "quota_bytes": bytes, "quota_files": files,
        }});
        self.broker.grant(COMPONENT, &granted);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, size: usize, mode: &str) -> Reply {
        let data = STANDARD.encode(vec![b'x'; size]);
        let mode = format!("WRITE_MODE_{mode}");
        let message = json!({"path": self.at(name), "data": data, "mode": mode});
        self.peer.json("FileWrite", &message)
    }

    fn upload(&self, name: &str, size: usize) -> Reply {
        let path = format!("/files?path={}", self.at(name).display());
        self.peer.http("PUT", &path, &[], &vec![b'x'; size])
    }

    fn mkdir(&self, name: &str) -> Reply {
        let message = json!({"path": self.at(name), "parents": true});
        self.peer.json("FileMkdir", &message)
    }

    fn rename(&self, from: &str, to: &str) -> Reply {
        let message = json!({"from": self.at(from), "to": self.at(to)});
        self.peer.json("FileRename", &message)
    }

    fn delete(&self, name: &str) -> Reply {
        self.peer
            .json("FileDelete", &json!({"path": self.at(name)}))
    }

    /// Bytes and files, as the admin sees them.
    fn used(&self) -> (u64, u64) {
        let shown = self.broker.must(&["quota", COMPONENT, "-o", "json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let number = |key: &str| shown[0][key].as_u64().unwrap();
        (number("bytes"), number("files"))
    }

    /// What really lies there.
    fn there(&self) -> u64 {
        let entries = fs::read_dir(&self.directory).unwrap();
        let sizes = entries.filter_map(|entry| entry.ok()?.metadata().ok());
        sizes.filter(|m| m.is_file()).map(|m| m.size()).sum()
    }
}

#[track_caller]
fn over(reply: &Reply) {
    assert_eq!((reply.status, reply.reason().as_str()), (429, "quota"));
}

#[test]
fn no_way_of_writing_gets_past_the_quota() {
    let site = site();
    site.write("a", 400, "CREATE").ok();
    site.write("a", 200, "APPEND").ok();
    site.upload("b", 300).ok();
    assert_eq!(site.used(), (900, 2));
    over(&site.write("c", 101, "CREATE"));
    over(&site.write("a", 101, "APPEND"));
    over(&site.write("b", 401, "REPLACE"));
    over(&site.upload("c", 101));
    over(&site.upload("b", 401));
    assert_eq!((site.used(), site.there()), ((900, 2), 900));
    // A name more or another one is no byte more or less.
    site.rename("a", "a2").ok();
    assert_eq!(site.used(), (900, 2));
    over(&site.write("a", 101, "CREATE"));
    // What is replaced, in one's own name or by a rename, is free again.
    site.write("b", 350, "REPLACE").ok();
    assert_eq!(site.used(), (950, 2));
    site.rename("a2", "b").ok();
    assert_eq!((site.used(), site.there()), ((600, 1), 600));
    // An upload that says nothing of its length is cut where the quota ends.
    let path = format!("/files?path={}", site.at("chunked").display());
    let mut body = Vec::new();
    for _ in 0..50 {
        body.extend_from_slice(b"a\r\n0123456789\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let reply = said(&site, [head.as_bytes(), &body].concat());
    assert!(reply.contains("429") && reply.contains("quota"), "{reply}");
    assert_eq!((site.used(), site.there()), ((600, 1), 600));
    site.delete("b").ok();
    assert_eq!((site.used(), site.there()), ((0, 0), 0));
}

/// Says something on a connection of its own and hears the answer.
fn said(site: &Site, words: Vec<u8>) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = site.peer.connect().unwrap();
    stream.write_all(&words).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn files_and_directories_are_counted_too() {
    let site = site();
    over(&site.mkdir("one/two/three/four/five/six"));
    assert!(!site.at("one").exists(), "half of it was made");
    site.mkdir("one/two/three").ok();
    site.mkdir("one/two").ok();
    for name in ["x", "y"] {
        site.write(name, 0, "REPLACE").ok();
    }
    assert_eq!(site.used(), (0, 5));
    over(&site.write("z", 0, "CREATE"));
    over(&site.write("z", 0, "APPEND"));
    over(&site.mkdir("z"));
    site.write("x", 1, "REPLACE").ok();
    site.delete("one/two/three").ok();
    site.mkdir("z").ok();
    assert_eq!(site.used(), (1, 5));
}

#[test]
fn writes_beside_each_other_share_the_quota() {
    let site = site();
    site.give(BYTES, 100);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let site = &site;
            scope.spawn(move || {
                for round in 0..12 {
                    let name = format!("{}", (thread + round) % 6);
                    match round % 4 {
                        0 => site.write(&name, 300, "REPLACE"),
                        1 => site.write(&name, 150, "APPEND"),
                        2 => site.upload(&name, 250),
                        _ => site.rename(&name, &format!("{}", (round * 7) % 6)),
                    };
                    let there = site.there();
                    assert!(there <= 2 * BYTES as u64, "{there} bytes");
                }
            });
        }
    });
    // Whatever raced with what: all that is there is counted.
    let (counted, files) = site.used();
    assert!(counted >= site.there(), "{counted} < {}", site.there());
    assert!(files >= fs::read_dir(&site.directory).unwrap().count() as u64);
    over(&site.write("last", BYTES, "CREATE"));
}

#[test]
fn deleting_what_was_there_before_makes_no_room() {
    let site = site();
    for name in ["quota/hosts", "quota/hosts2"] {
        site.broker.home().file(name, vec![b'h'; 5000]);
    }
    site.write("own", 900, "CREATE").ok();
    site.delete("hosts").ok();
    over(&site.write("more", 101, "CREATE"));
    // To what others made it may add what is left, and no more.
    site.write("hosts2", 100, "APPEND").ok();
    over(&site.write("hosts2", 1, "APPEND"));
    site.delete("hosts2").ok();
    assert_eq!(site.used(), (900, 1));
}

#[test]
fn the_account_survives_a_kill_and_is_not_a_way_around_when_it_is_damaged() {
    let mut site = site();
    site.write("a", 800, "CREATE").ok();
    site.rename("a", "b").ok();
    site.broker.restart();
    assert_eq!(site.used(), (800, 1));
    // What somebody else removed is seen, at the latest when there is no room.
    fs::remove_file(site.at("b")).unwrap();
    site.write("c", 900, "CREATE").ok();
    assert_eq!(site.used(), (900, 1));
    over(&site.write("d", 101, "CREATE"));
    let journal = site
        .broker
        .home()
        .state()
        .join(format!("quota/{COMPONENT}.jsonl"));
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"path\"", "\"p\"", 1)).unwrap();
    site.broker.restart();
    for reply in [
        site.write("d", 1, "CREATE"),
        site.write("c", 1, "REPLACE"),
        site.write("c", 1, "APPEND"),
        site.upload("c", 1),
        site.mkdir("d"),
    ] {
        over(&reply);
    }
    site.rename("c", "d").ok();
    site.delete("d").ok();
    let shown = site.broker.must(&["quota"]);
    assert!(shown.stderr.contains("cannot be counted"), "{shown:?}");
    fs::remove_file(&journal).unwrap();
    site.broker.restart();
    site.write("d", BYTES, "CREATE").ok();
}

#[test]
fn a_full_disk_below_a_granted_directory_leaves_nothing_behind() {
    let site = site();
    let mount = site.broker.home().data("quota/small");
    let options = ["-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs"];
    Output::of(Command::new("mount").args(options).arg(&mount)).ok();
    let granted = json!({"file_write": {"enabled": true, "directories": [mount]}});
    site.broker.grant(COMPONENT, &granted);
    site.write("small/kept", 100, "CREATE").ok();
    let large = 2 << 20;
    for reply in [
        site.write("small/kept", large, "REPLACE"),
        site.write("small/kept", large, "APPEND"),
        site.write("small/new", large, "CREATE"),
        site.upload("small/kept", large),
        site.upload("small/new", large),
    ] {
        assert_eq!(reply.status, 503, "{}", reply.json());
    }
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 1);
    assert_eq!(fs::metadata(mount.join("kept")).unwrap().len(), 100);
    assert_eq!(site.used(), (100, 1));
    site.write("small/new", 1 << 19, "CREATE").ok();
}
