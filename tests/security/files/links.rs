//! Symbolic and hard links.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

use serde_json::json;

use super::{refused, text, ways};
use crate::yard::site;

#[test]
fn no_symlink_leads_out_of_the_granted_directory() {
    let site = site("links");
    site.file("source", "inside");
    let granted = &site.granted;
    let links = [
        ("absolute", site.outside.join("secret")),
        ("relative", "../../outside/links/secret".into()),
        ("directory", site.outside.clone()),
        ("up", "../..".into()),
        ("root", "/".into()),
        ("first", "second".into()),
        ("second", site.outside.join("secret")),
        ("magic", "/proc/self/root".into()),
        ("descriptor", "/proc/self/fd/3".into()),
        ("dangling", site.outside.join("new")),
        ("loop", "loop".into()),
        ("ping", "pong".into()),
        ("pong", "ping".into()),
    ];
    for (name, target) in &links {
        symlink(target, granted.join(name)).unwrap();
    }
    for (name, _) in &links {
        let reply = site
            .peer
            .json("FileRead", &json!({"path": granted.join(name)}));
        refused(&reply, &format!("read `{name}`"));
        let list = site
            .peer
            .json("FileList", &json!({"path": granted.join(name)}));
        refused(&list, &format!("list `{name}`"));
        let download = site.peer.get_file(&granted.join(name), "");
        refused(&download, &format!("download `{name}`"));
    }
    for through in [
        "directory/secret",
        "up/outside/links/secret",
        "up/outside",
        "root/etc/passwd",
    ] {
        for (way, reply) in ways(&site.peer, text(&granted.join(through)), granted) {
            refused(&reply, &format!("{way} `{through}`"));
        }
    }
    for through in [
        "directory/new",
        "directory/new/deeper",
        "up/new",
        "magic/tmp/new",
        "loop/new",
    ] {
        for (way, reply) in ways(&site.peer, text(&granted.join(through)), granted) {
            refused(&reply, &format!("{way} `{through}`"));
        }
    }
    site.outside_is_untouched();
    assert_eq!(
        fs::read_to_string(granted.join("source")).unwrap(),
        "inside"
    );
}

#[test]
fn a_symlink_as_the_last_component_is_never_written_renamed_over_or_deleted_through() {
    let site = site("last");
    let link = site.granted.join("link");
    let fresh = || {
        fs::remove_file(&link).ok();
        symlink(site.outside.join("secret"), &link).unwrap();
        site.file("source", "inside");
    };
    for (method, message) in [
        ("FileWrite", json!({"path": link, "data": "b3duZWQ="})),
        (
            "FileWrite",
            json!({"path": link, "data": "b3duZWQ=", "mode": "WRITE_MODE_APPEND"}),
        ),
        (
            "FileWrite",
            json!({"path": link, "data": "b3duZWQ=", "mode": "WRITE_MODE_CREATE"}),
        ),
        ("FileMkdir", json!({"path": link})),
        ("FileDelete", json!({"path": link})),
        (
            "FileRename",
            json!({"from": link, "to": site.granted.join("moved")}),
        ),
        (
            "FileRename",
            json!({"from": site.granted.join("source"), "to": link}),
        ),
    ] {
        fresh();
        let reply = site.peer.json(method, &message);
        assert!(reply.status < 500, "{method}: {}", reply.json());
        site.outside_is_untouched();
        // Replaced, moved or refused: where something was written it is no link any more.
        if reply.status == 200 && method == "FileWrite" {
            let found = fs::symlink_metadata(&link).unwrap();
            assert!(found.is_file(), "{message}");
            assert_eq!(
                found.mode() & 0o022,
                0,
                "a link's mode is everyone's: {:o}",
                found.mode()
            );
        }
    }
    fresh();
    let path = format!("/files?path={}", link.display());
    let reply = site.peer.http("PUT", &path, &[], b"owned");
    assert!(reply.status < 500, "{}", reply.json());
    site.outside_is_untouched();

    // A link that leads nowhere must not make its target.
    let dangling = site.granted.join("dangling");
    symlink(site.outside.join("new"), &dangling).unwrap();
    for mode in [
        "WRITE_MODE_REPLACE",
        "WRITE_MODE_APPEND",
        "WRITE_MODE_CREATE",
    ] {
        site.peer.json(
            "FileWrite",
            &json!({"path": dangling, "data": "b3duZWQ=", "mode": mode}),
        );
        site.outside_is_untouched();
    }
}

#[test]
fn a_symlink_that_stays_inside_is_followed_and_what_it_leads_to_is_judged() {
    let site = site("inside");
    site.file("real", "inside");
    symlink("real", site.granted.join("link")).unwrap();
    let reply = site
        .peer
        .json("FileRead", &json!({"path": site.granted.join("link")}));
    assert_eq!(reply.bytes("data"), b"inside");
    // Inside, but forbidden by the scope: what is found is judged as what is asked.
    site.file(".ssh/id_rsa", "a key");
    symlink(".ssh/id_rsa", site.granted.join("innocent")).unwrap();
    let reply = site
        .peer
        .json("FileRead", &json!({"path": site.granted.join("innocent")}));
    assert_eq!(reply.reason(), "forbidden_by_scope");
    symlink(".ssh", site.granted.join("folder")).unwrap();
    let reply = site.peer.json(
        "FileWrite",
        &json!({"path": site.granted.join("folder/authorized_keys"), "data": ""}),
    );
    assert_eq!(reply.reason(), "forbidden_by_scope");
    assert!(!site.granted.join(".ssh/authorized_keys").exists());
}

#[test]
fn a_file_with_several_names_is_never_written_in_place() {
    let site = site("hard");
    let hard = site.granted.join("hard");
    fs::hard_link(site.outside.join("secret"), &hard).unwrap();
    for message in [
        json!({"path": hard, "data": "b3duZWQ="}),
        json!({"path": hard, "data": "b3duZWQ=", "mode": "WRITE_MODE_APPEND"}),
        json!({"path": hard, "data": "b3duZWQ=", "mode": "WRITE_MODE_CREATE"}),
    ] {
        refused(&site.peer.json("FileWrite", &message), &message.to_string());
        assert_eq!(
            fs::read_to_string(site.outside.join("secret")).unwrap(),
            "outside"
        );
    }
    let upload = site.peer.http(
        "PUT",
        &format!("/files?path={}", hard.display()),
        &[],
        b"owned",
    );
    refused(&upload, "an upload");
    assert_eq!(fs::metadata(&hard).unwrap().nlink(), 2);
    // Reading is allowed, and the record says that the file has several names.
    let reply = site.peer.json("FileRead", &json!({"path": hard}));
    assert_eq!(reply.bytes("data"), b"outside");
    let target = json!(hard);
    let read =
        |record: &&serde_json::Value| record["target"] == target && record["action"] == "read";
    let records = site.yard.audit();
    let id = records.iter().rfind(read).expect("a decision")["id"].clone();
    let outcomes = || site.yard.records_of(id.as_str().unwrap_or_default());
    rumi_tests::eventually("an outcome", || outcomes().len() == 2);
    let noted = outcomes()
        .iter()
        .any(|record| record["detail"]["more"]["hard_links"] == json!(true));
    assert!(noted, "no record notes the second name: {:?}", outcomes());
    site.outside_is_untouched();
}
