//! One path, spelled in every way that has ever fooled somebody.

use std::fs;

use serde_json::json;

use super::{refused, text, ways};
use crate::yard::site;

#[test]
fn no_spelling_of_a_path_leaves_the_granted_directory() {
    let site = site("spellings");
    site.file("source", "inside");
    fs::create_dir_all(site.granted.join("sub")).unwrap();
    let granted = text(&site.granted);
    let outside = text(&site.outside);
    let spellings = [
        outside.to_owned(),
        format!("{granted}/../../outside/spellings/secret"),
        format!("{granted}/./../../outside/spellings/secret"),
        format!("{granted}/sub/../../../outside/spellings/secret"),
        format!("{granted}//../../outside/spellings/secret"),
        format!("{granted}/..//..//outside/spellings/secret"),
        format!("{granted}/..;/../outside/spellings/secret"),
        format!("{granted}/..\\..\\outside\\spellings\\secret/."),
        format!("{granted}/\u{0}/../../outside/spellings/secret"),
        format!("{outside}/secret\u{0}{granted}"),
        format!("{granted}\u{0}"),
        format!("{}x/secret", text(site.granted.parent().unwrap())),
        format!("{granted}/"),
        format!("{granted}/sub/"),
        format!("/proc/self/root{outside}/secret"),
        "/proc/self/cwd/secret".to_owned(),
        format!("/.{outside}/secret"),
        format!("/{outside}/secret"),
        format!("file://{outside}/secret"),
        format!(" {outside}/secret"),
        "~/secret".to_owned(),
        "$HOME/secret".to_owned(),
        "secret".to_owned(),
        "../outside/spellings/secret".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "/".to_owned(),
        String::new(),
    ];
    for spelling in &spellings {
        for (way, reply) in ways(&site.peer, spelling, &site.granted) {
            refused(&reply, &format!("{way} `{}`", spelling.escape_debug()));
        }
        site.outside_is_untouched();
    }
    assert_eq!(
        fs::read_to_string(site.granted.join("source")).unwrap(),
        "inside"
    );
}

#[test]
fn percent_codes_tildes_and_variables_are_literal_names() {
    let site = site("literal");
    let names = [
        "%2e%2e",
        "..%2foutside",
        "%00",
        "~",
        "$HOME",
        "${HOME}",
        "file:",
        "-rf",
        "--",
        "*",
        "\\..\\x",
        "a\nb",
        "a\r\nb",
        "\u{1b}[31m",
        "\u{202e}txt",
        "．．",
        "\"",
        "'",
        " ",
        "...",
    ];
    for name in names {
        // A name that were decoded would lead elsewhere, where no such content is.
        site.file(name, name);
        let path = site.granted.join(name);
        let reply = site.peer.json("FileRead", &json!({"path": path}));
        assert_eq!(reply.bytes("data"), name.as_bytes(), "{name:?}");
        let changed = site
            .peer
            .json("FileWrite", &json!({"path": path, "data": "b2s="}));
        assert_eq!(changed.status, 200, "{name:?}: {}", changed.json());
        assert_eq!(fs::read_to_string(&path).unwrap(), "ok", "{name:?}");
    }
    let there = fs::read_dir(&site.granted).unwrap().count();
    assert_eq!(there, names.len(), "a write made another name");
    site.outside_is_untouched();
}

#[test]
fn names_that_steer_a_terminal_or_a_log_stay_one_record() {
    let site = site("records");
    let path = format!("{}/x\n{{\"seq\":0}}\u{1b}[2J\u{202e}", text(&site.outside));
    let reply = site.peer.json("FileRead", &json!({"path": path}));
    assert_eq!(reply.reason(), "outside_directory");
    let records = site.yard.records_of(&reply.record());
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["target"], json!(path));
    let shown = site.yard.must(&["audit", "tail", "--lines", "200"]).text();
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
    assert!(!site.yard.log().contains('\u{202e}'));
}

#[test]
fn what_is_not_unicode_or_not_a_percent_code_is_a_bad_request() {
    let site = site("unicode");
    let granted = text(&site.granted);
    site.file("x", "inside");
    let bodies: [&[u8]; 4] = [
        b"{\"path\":\"/\xff\xfe\"}",
        b"{\"path\":\"/\xc0\xae\xc0\xae/x\"}",
        b"{\"path\":\"/\\ud800\"}",
        b"{\"path\":\"/\\u00\"}",
    ];
    for body in bodies {
        let reply = site.peer.post("FileRead", body);
        assert_eq!(reply.code(), "invalid_argument", "{body:?}");
    }
    for code in ["%ff", "%c0%ae%c0%ae", "%", "%2", "%zz", "%u002e", "%00"] {
        for method in ["GET", "PUT"] {
            let reply = site
                .peer
                .http(method, &format!("/files?path={granted}/{code}"), &[], b"");
            assert_eq!(reply.status, 400, "{method} {code}: {}", reply.json());
        }
    }
    for query in [
        format!("path={granted}/x&path={granted}/x"),
        format!("path={granted}/x&other=1"),
        format!("path={granted}/x&offset=-1"),
        format!("path={granted}/x&length=99999999999999999999"),
        "".to_owned(),
    ] {
        let reply = site.peer.http("GET", &format!("/files?{query}"), &[], b"");
        assert_eq!(reply.status, 400, "{query}: {}", reply.json());
    }
    // Decoded once, as a percent code of a query is, and never twice.
    let once = site
        .peer
        .http("GET", &format!("/files?path={granted}/%78"), &[], b"");
    assert_eq!((once.status, once.body.as_slice()), (200, &b"inside"[..]));
    let twice = site
        .peer
        .http("GET", &format!("/files?path={granted}/%2578"), &[], b"");
    assert_eq!(twice.status, 404);
    let up = format!("/files?path={granted}/%2e%2e/%2e%2e/outside/unicode/secret");
    refused(&site.peer.http("GET", &up, &[], b""), "an encoded way up");
    refused(
        &site.peer.http("PUT", &up, &[], b"owned"),
        "an encoded way up",
    );
    site.outside_is_untouched();
}

#[test]
fn names_and_paths_are_taken_up_to_the_kernels_limits_and_no_further() {
    let site = site("lengths");
    let granted = text(&site.granted);
    let write = |path: &str| {
        site.peer
            .json("FileWrite", &json!({"path": path, "data": "b2s="}))
    };
    assert_eq!(write(&format!("{granted}/{}", "n".repeat(255))).status, 200);
    refused(
        &write(&format!("{granted}/{}", "n".repeat(256))),
        "256 bytes",
    );
    // The limit is one of bytes, not of characters.
    refused(
        &write(&format!("{granted}/{}", "é".repeat(128))),
        "256 bytes in 128 characters",
    );

    let long = |length: usize| {
        let mut path = granted.to_owned();
        while path.len() + 2 <= length {
            let name = (length - path.len() - 1).min(100);
            path.push('/');
            path.push_str(&"d".repeat(name));
        }
        path
    };
    for length in [4095, 4096, 4097, 65_536] {
        let path = long(length);
        for (way, reply) in ways(&site.peer, &path, &site.granted) {
            let what = format!("{way} {} bytes", path.len());
            // What the kernel takes may be made, and then it is there to be taken away.
            if length == 4095 && ["mkdir", "delete"].contains(&way) {
                assert!(reply.status < 500, "{what}: {}", reply.json());
            } else {
                refused(&reply, &what);
            }
        }
    }
    let deep = format!("{granted}{}", "/d".repeat(1_000));
    let made = site
        .peer
        .json("FileMkdir", &json!({"path": deep, "parents": true}));
    assert!(made.status < 500, "{}", made.json());
    refused(
        &site
            .peer
            .json("FileRead", &json!({"path": format!("{deep}/x")})),
        "1,000 components",
    );
    refused(
        &site.peer.json(
            "FileRead",
            &json!({"path": format!("{granted}{}", "/..".repeat(1_000))}),
        ),
        "1,000 ways up",
    );
}
