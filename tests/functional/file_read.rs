//! `file_read`: whole files, ranges, streams, lists, and what is known of a file.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _};

use rumi_proto::v1;
use serde_json::json;

use crate::world::world;

/// Bytes whose place in the file can be told.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_file_is_read_whole_and_in_ranges() {
    let world = world();
    let content = pattern(10_000);
    let path = world.broker.home().file("reads/ranges.bin", &content);
    let peer = world.peer("reads");
    let ranges: [(u64, u64, &[u8]); 6] = [
        (0, 0, &content),
        (0, 1, &content[..1]),
        (9_999, 0, &content[9_999..]),
        (100, 900, &content[100..1_000]),
        (9_990, 100, &content[9_990..]),
        (20_000, 10, b""),
    ];
    for (offset, length, expected) in ranges {
        let message =
            json!({"path": path, "offset": offset.to_string(), "length": length.to_string()});
        let reply = peer.json("FileRead", &message);
        assert_eq!(reply.bytes("data"), expected, "{message}");
        assert_eq!(reply.json()["size"], "10000", "{message}");
        let reply = peer.get_file(&path, &format!("&offset={offset}&length={length}"));
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, expected),
            "{message}"
        );
        assert_eq!(
            reply.header("content-length"),
            Some(expected.len().to_string().as_str())
        );
        assert_eq!(reply.header("rumi-file-size"), Some("10000"));
    }
}

#[test]
fn an_empty_file_is_no_error() {
    let world = world();
    let path = world.broker.home().file("reads/empty", "");
    let peer = world.peer("reads");
    assert_eq!(
        peer.json("FileRead", &json!({"path": path})).bytes("data"),
        b""
    );
    assert_eq!(peer.get_file(&path, "").body, b"");
}

#[test]
fn a_large_file_is_streamed_and_does_not_fit_a_single_reply() {
    let world = world();
    let content = pattern(20 << 20);
    let path = world.broker.home().file("reads/large.bin", &content);
    let peer = world.peer("reads");
    let whole = peer.json("FileRead", &json!({"path": path}));
    assert_eq!(
        (whole.status, whole.code().as_str()),
        (429, "resource_exhausted")
    );
    let reply = peer.get_file(&path, "");
    assert!(reply.whole && reply.body == content);
    let streamed = world.broker.block_on(async {
        let request = v1::FileReadRequest {
            path: path.to_str().unwrap().to_owned(),
            offset: 5,
            length: 0,
        };
        let mut chunks = peer
            .grpc()
            .await
            .file_read_stream(request)
            .await
            .unwrap()
            .into_inner();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            all.extend_from_slice(&chunk.data);
        }
        all
    });
    assert!(streamed == content[5..]);
}

#[test]
fn names_are_taken_as_they_are() {
    let world = world();
    let peer = world.peer("reads");
    for name in ["with space", "%2e%2e", "a\nb", "grüße", "*", "$HOME", "..."] {
        let path = world.broker.home().file(&format!("reads/{name}"), name);
        let reply = peer.json("FileRead", &json!({"path": path}));
        assert_eq!(reply.bytes("data"), name.as_bytes(), "{name}");
    }
    let path = world.broker.home().file("reads/a b%c", "plain body");
    let escaped = path
        .to_str()
        .unwrap()
        .replace('%', "%25")
        .replace(' ', "%20");
    assert_eq!(
        peer.http("GET", &format!("/files?path={escaped}"), &[], b"")
            .body,
        b"plain body"
    );
}

#[test]
fn what_is_missing_is_not_found_and_the_log_says_so() {
    let world = world();
    let missing = world.at("reads/missing");
    let peer = world.peer("reads");
    for method in ["FileRead", "FileList", "FileStat"] {
        let reply = peer.json(method, &json!({"path": missing}));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (404, "not_found"),
            "{method}"
        );
    }
    let audit = world.broker.audit();
    let decision = audit
        .iter()
        .find(|record| record["target"] == json!(missing))
        .unwrap();
    assert_eq!(decision["decision"], "allow");
    let outcome = audit
        .iter()
        .find(|record| record["phase"] == "outcome" && record["id"] == decision["id"]);
    assert_eq!(outcome.unwrap()["reason"], "not_found");
}

#[test]
fn a_symlink_that_leads_out_of_the_directory_is_not_followed() {
    let world = world();
    let home = world.broker.home();
    let secret = home.file("secret/key", "secret");
    home.data("reads/links");
    let inside = home.file("reads/links/real", "real");
    for (name, target, expected) in [("out", &secret, None), ("in", &inside, Some("real"))] {
        let link = world.data(&format!("reads/links/{name}"));
        let relative = if expected.is_some() {
            "real".into()
        } else {
            target.clone()
        };
        std::os::unix::fs::symlink(relative, &link).unwrap();
        let reply = world.peer("reads").json("FileRead", &json!({"path": link}));
        match expected {
            Some(text) => assert_eq!(reply.bytes("data"), text.as_bytes()),
            None => assert!(
                reply.status >= 400 && !String::from_utf8_lossy(&reply.body).contains("c2VjcmV0"),
                "{reply:?}"
            ),
        }
    }
}

#[test]
fn a_directory_is_listed_page_by_page_without_loss_or_repetition() {
    let world = world();
    let home = world.broker.home();
    let expected: BTreeSet<String> = (0..2_345).map(|n| format!("file-{n}")).collect();
    for name in &expected {
        home.file(&format!("reads/many/{name}"), "");
    }
    let peer = world.peer("reads");
    let path = world.at("reads/many");
    for size in [0, 7, 1_000, 100_000] {
        let (mut seen, mut pages, mut token) = (Vec::new(), 0, String::new());
        loop {
            let reply = peer
                .json(
                    "FileList",
                    &json!({"path": path, "pageSize": size, "pageToken": token}),
                )
                .ok();
            let entries = reply["entries"].as_array().cloned().unwrap_or_default();
            if size > 0 {
                assert!(entries.len() <= size, "{} of {size}", entries.len());
            }
            for entry in entries {
                assert_eq!(entry["kind"], "FILE_KIND_FILE");
                seen.push(entry["name"].as_str().unwrap().to_owned());
            }
            pages += 1;
            token = reply["nextPageToken"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), expected.len(), "page size {size}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
        let least = [(0, 3), (7, 335), (1_000, 3), (100_000, 1)]
            .iter()
            .find(|(of, _)| *of == size)
            .unwrap()
            .1;
        assert!(pages >= least, "{pages} pages of {size}");
    }
    let reply = peer.json("FileList", &json!({"path": path, "pageToken": "nonsense"}));
    assert_eq!(reply.status, 400);
}

#[test]
fn a_listing_names_kinds_and_hides_what_the_grant_excludes() {
    let world = world();
    let home = world.broker.home();
    home.file("reads/kinds/file", "");
    home.data("reads/kinds/directory");
    home.data("reads/kinds/drafts");
    std::os::unix::fs::symlink("file", world.data("reads/kinds/link")).unwrap();
    let reply = world
        .peer("reads")
        .json("FileList", &json!({"path": world.at("reads/kinds")}))
        .ok();
    let seen: BTreeSet<(&str, &str)> = reply["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["name"].as_str().unwrap(),
                entry["kind"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = BTreeSet::from([
        ("file", "FILE_KIND_FILE"),
        ("directory", "FILE_KIND_DIRECTORY"),
        ("link", "FILE_KIND_SYMLINK"),
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn stat_tells_kind_size_time_and_mode() {
    let world = world();
    let path = world.broker.home().file("reads/stat.txt", "12345");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let peer = world.peer("reads");
    let reply = peer.json("FileStat", &json!({"path": path})).ok();
    assert_eq!(reply["kind"], "FILE_KIND_FILE");
    assert_eq!(reply["size"], "5");
    assert_eq!(reply["mode"], 0o640);
    let modified: u64 = reply["modifiedUnix"].as_str().unwrap().parse().unwrap();
    let real = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(
        modified,
        real.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    );
    let reply = peer
        .json("FileStat", &json!({"path": world.at("reads")}))
        .ok();
    assert_eq!(reply["kind"], "FILE_KIND_DIRECTORY");
}

#[test]
fn an_allowed_read_leaves_a_decision_and_an_outcome_with_its_bytes() {
    let world = world();
    let path = world.broker.home().file("reads/audited.txt", "12345");
    world
        .peer("reads")
        .json("FileRead", &json!({"path": path}))
        .ok();
    let audit = world.broker.audit();
    let decision = audit
        .iter()
        .find(|record| record["target"] == json!(path))
        .unwrap();
    assert_eq!(decision["phase"], "decision");
    assert_eq!(decision["decision"], "allow");
    assert_eq!(decision["permission"], "file_read");
    assert_eq!(decision["action"], "read");
    assert_eq!(decision["grant"], "asker:tool:reads.json");
    assert_eq!(decision["policy"].as_str().unwrap().len(), 64);
    let records = world.broker.records_of(decision["id"].as_str().unwrap());
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["phase"], "outcome");
    assert_eq!(records[1]["reason"], "ok");
    assert_eq!(records[1]["detail"]["bytes_out"], 5);
}
