//! Paths, links, races and things that are no files.

mod forbidden;
mod kinds;
mod links;
mod quotas;
mod races;
mod spellings;

use std::path::Path;

use rumi_tests::{Peer, Reply};
use serde_json::{Value, json};

/// Every method that takes a path, asked for one path. A rename is asked both ways.
fn ways(peer: &Peer, path: &str, other: &Path) -> Vec<(&'static str, Reply)> {
    let requests: [(&str, &str, Value); 9] = [
        ("read", "FileRead", json!({"path": path})),
        ("list", "FileList", json!({"path": path})),
        ("stat", "FileStat", json!({"path": path})),
        (
            "write",
            "FileWrite",
            json!({"path": path, "data": "b3duZWQ="}),
        ),
        (
            "append",
            "FileWrite",
            json!({"path": path, "data": "b3duZWQ=", "mode": "WRITE_MODE_APPEND"}),
        ),
        ("mkdir", "FileMkdir", json!({"path": path, "parents": true})),
        ("delete", "FileDelete", json!({"path": path})),
        (
            "rename from",
            "FileRename",
            json!({"from": path, "to": other.join("moved")}),
        ),
        (
            "rename to",
            "FileRename",
            json!({"from": other.join("source"), "to": path}),
        ),
    ];
    requests
        .into_iter()
        .map(|(way, method, message)| (way, peer.json(method, &message)))
        .collect()
}

/// Refused in the caller's words, which is neither an answer nor the broker's own failure.
#[track_caller]
fn refused(reply: &Reply, what: &str) {
    let text = String::from_utf8_lossy(&reply.body);
    assert!(
        (400..500).contains(&reply.status),
        "{what}: {} {text}",
        reply.status
    );
    assert!(!text.contains("outside\""), "{what}: {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test")
}
