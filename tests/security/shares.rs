//! What a pack may have of the broker at once, and what its components leave each other.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use rumi_tests::{Broker, Home, Peer, eventually};
use serde_json::{Value, json};

const GREEDY: &str = "shared:tool:greedy";
const SISTER: &str = "shared:tool:sister";
/// How long something is watched that must not happen.
const WATCH: Duration = Duration::from_secs(2);
/// More than may be sent without anybody reading it, and less than a message may have.
const LARGE: usize = 3 << 20;

/// A pack of two components under these bounds.
fn pack(requests: &Value) -> Broker {
    let home = Home::new();
    home.configure(|config| config["requests"] = requests.clone());
    home.write_file(
        "docker/packs/shared/tool.py",
        "def run(args):\n    return args\n",
    );
    let mut manifest = Home::manifest("shared");
    let one = manifest["components"][0].clone();
    manifest["components"] = json!([GREEDY, SISTER].map(|id| {
        let mut component = one.clone();
        component["id"] = json!(id);
        component
    }));
    home.write_manifest("shared", &manifest);
    let directory = home.data("shared");
    home.file("shared/large", vec![b'x'; LARGE]);
    for component in [GREEDY, SISTER] {
        home.grant(
            component,
            &json!({"file_read": {"enabled": true, "directories": [directory]}}),
        );
    }
    let broker = Broker::start(home);
    broker.up(&["shared"]);
    broker
}

/// Asks for something that nobody is granted, with a body of this size.
#[track_caller]
fn ask(peer: &Peer, bytes: usize) -> UnixStream {
    try_ask(peer, bytes).expect("said")
}

/// As [`ask`]; a connection beyond the bound is closed before anything can be said.
fn try_ask(peer: &Peer, bytes: usize) -> std::io::Result<UnixStream> {
    let mut stream = peer.connect()?;
    let head = format!(
        "POST /rumi.v1.Capabilities/EnvRead HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

#[track_caller]
fn is_served(peer: &Peer) {
    let reply = peer.json("EnvRead", &json!({"key": "PATH"}));
    assert_eq!(reply.reason(), "no_grant");
}

/// Whether anything comes within a while.
fn hears(stream: &mut UnixStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).expect("a limit");
    matches!(stream.read(&mut [0; 64]), Ok(1..))
}

#[test]
fn connections_are_shared_by_a_pack_and_each_component_keeps_some() {
    let broker = pack(&json!({"connections": 16}));
    let (greedy, sister) = (broker.component(GREEDY), broker.component(SISTER));
    let held: Vec<UnixStream> = (0..40).filter_map(|_| greedy.connect().ok()).collect();
    let open = || {
        let is_open = |stream: &&UnixStream| {
            stream.set_nonblocking(true).is_ok()
                && !matches!((&mut &**stream).read(&mut [0; 1]), Ok(0))
        };
        held.iter().filter(is_open).count()
    };
    // 4 of its own and 8 that are anybody's, less those that workers have.
    eventually("those beyond the bound are closed", || open() <= 12);
    assert!(open() >= 8, "{} are open", open());
    is_served(&sister);
    drop(held);
    eventually("there is room again", || {
        try_ask(&greedy, 2)
            .is_ok_and(|mut stream| stream.write_all(b"{}").is_ok() && hears(&mut stream, WATCH))
    });
}

#[test]
fn requests_are_shared_by_a_pack_and_each_component_keeps_some() {
    let broker = pack(&json!({"in_flight": 4}));
    let (greedy, sister) = (broker.component(GREEDY), broker.component(SISTER));
    // One of its own and two that are anybody's.
    let held: Vec<UnixStream> = (0..3).map(|_| ask(&greedy, 1000)).collect();
    let mut waiting = loop {
        // The broker may see what was said last first.
        let mut next = ask(&greedy, 2);
        next.write_all(b"{}").expect("said");
        if !hears(&mut next, WATCH) {
            break next;
        }
    };
    is_served(&sister);
    drop(held);
    assert!(
        hears(&mut waiting, Duration::from_secs(15)),
        "its turn comes"
    );
}

#[test]
fn bytes_in_flight_are_shared_by_a_pack_and_each_component_keeps_room_for_a_message() {
    // Each keeps what one message may have, and so nothing is anybody's.
    let broker = pack(&json!({"bytes_in_flight": "8m"}));
    let (greedy, sister) = (broker.component(GREEDY), broker.component(SISTER));
    let large = vec![b' '; LARGE];
    let all_but_one = &large[1..];
    let mut held = ask(&greedy, LARGE);
    held.write_all(all_but_one).expect("there is room for one");
    // The second is left with who sends it, which the kernel bounds.
    let mut waiting = ask(&greedy, LARGE);
    waiting.set_write_timeout(Some(WATCH)).expect("a limit");
    assert!(waiting.write_all(&large).is_err(), "nobody reads it");
    is_served(&greedy);
    let reply = sister.post("EnvRead", &large);
    assert_eq!(
        reply.status,
        400,
        "the sister has room: {}",
        String::from_utf8_lossy(&reply.body)
    );
    // What goes has room of its own.
    let path = broker.home().base().join("data/shared/large");
    let read = json!({"path": path});
    assert_eq!(greedy.json("FileRead", &read).status, 200);
    held.write_all(b" ").expect("said");
    assert!(hears(&mut held, Duration::from_secs(15)), "it is answered");
    drop((held, waiting));
    let reply = greedy.post("EnvRead", &large);
    assert_eq!(
        reply.status,
        400,
        "there is room again: {}",
        String::from_utf8_lossy(&reply.body)
    );
}

#[test]
fn replies_that_nobody_reads_take_room_that_others_do_not_lose() {
    let broker = pack(&json!({"bytes_in_flight": "8m"}));
    let (greedy, sister) = (broker.component(GREEDY), broker.component(SISTER));
    let path = broker.home().base().join("data/shared/large");
    let body = json!({"path": path}).to_string();
    let read = |peer: &Peer| {
        let mut stream = peer.connect().expect("a connection");
        let request = format!(
            "POST /rumi.v1.Capabilities/FileRead HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("said");
        stream
    };
    let mut unread = read(&greedy);
    assert!(hears(&mut unread, Duration::from_secs(15)), "it begins");
    let mut waiting = read(&greedy);
    assert!(!hears(&mut waiting, WATCH), "no room for a second one");
    assert_eq!(sister.json("FileRead", &json!({"path": path})).status, 200);
    is_served(&greedy);
    drop(unread);
    assert!(
        hears(&mut waiting, Duration::from_secs(15)),
        "its turn comes"
    );
}
