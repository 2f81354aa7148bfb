//! `file_write`: writing, appending, directories, deleting, renaming.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_proto::v1;
use serde_json::{Value, json};

use crate::world::world;

fn data(text: &str) -> Value {
    json!(STANDARD.encode(text))
}

#[test]
fn a_file_is_written_replaced_appended_to_and_created_only_once() {
    let world = world();
    let path = world.at("writes/steps.txt");
    let steps = [
        ("WRITE_MODE_CREATE", "one", 200, "one"),
        ("WRITE_MODE_CREATE", "two", 409, "one"),
        ("WRITE_MODE_APPEND", " more", 200, "one more"),
        ("WRITE_MODE_REPLACE", "new", 200, "new"),
        ("WRITE_MODE_REPLACE", "", 200, ""),
        ("WRITE_MODE_APPEND", "x", 200, "x"),
    ];
    for (mode, text, status, left) in steps {
        let message = json!({"path": path, "data": data(text), "mode": mode});
        let reply = world.peer("writes").json("FileWrite", &message);
        assert_eq!(
            reply.status,
            status,
            "{mode}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        if status == 200 {
            let size = reply.json()["size"].as_str().unwrap_or("0").to_owned();
            assert_eq!(size, left.len().to_string(), "{mode}");
        } else {
            assert_eq!(reply.code(), "already_exists");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), left, "{mode}");
    }
    let appended = world.at("writes/by-append.txt");
    let message = json!({"path": appended, "data": data("x"), "mode": "WRITE_MODE_APPEND"});
    world.peer("writes").json("FileWrite", &message).ok();
    assert_eq!(fs::read_to_string(appended).unwrap(), "x");
}

#[test]
fn what_is_written_belongs_to_the_owner_of_the_directory() {
    let world = world();
    let peer = world.peer("writes");
    world.broker.home().data("writes/owned");
    let owner = fs::metadata(world.data("writes/owned")).unwrap().uid();
    assert_ne!(owner, 0);
    let file = world.at("writes/owned/file");
    peer.json("FileWrite", &json!({"path": file, "data": data("x")}))
        .ok();
    let directory = world.at("writes/owned/a/b");
    peer.json("FileMkdir", &json!({"path": directory, "parents": true}))
        .ok();
    let below = world.at("writes/owned/a/b/below");
    peer.json(
        "FileWrite",
        &json!({"path": below, "mode": "WRITE_MODE_APPEND", "data": data("x")}),
    )
    .ok();
    let uploaded = world.at("writes/owned/uploaded");
    let reply = peer.http("PUT", &format!("/files?path={uploaded}"), &[], b"body");
    assert_eq!(reply.status, 200);
    for path in [file, world.at("writes/owned/a"), directory, below, uploaded] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (owner, owner), "{path}");
        assert_eq!(metadata.mode() & 0o7022, 0, "{path}: {:o}", metadata.mode());
    }
}

#[test]
fn replacing_a_file_keeps_its_mode_and_never_shows_half_of_it() {
    let world = world();
    let path = world
        .broker
        .home()
        .file("writes/atomic/atomic.txt", "a".repeat(100_000));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // While it is open its number is not given to another file.
    let mut first = fs::File::open(&path).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..20 {
                let text = ["b", "a"][round % 2].repeat(100_000);
                let message = json!({"path": path, "data": data(&text)});
                world.peer("writes").json("FileWrite", &message).ok();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let seen = fs::read_to_string(&path).unwrap();
            assert_eq!(seen.len(), 100_000);
            let first = seen.chars().next().unwrap();
            assert!(
                seen.chars().all(|c| c == first),
                "half of two versions was seen"
            );
        }
    });
    let after = fs::metadata(&path).unwrap();
    let before = first.metadata().unwrap().ino();
    assert_ne!(after.ino(), before, "it was written in place");
    let mut untouched = String::new();
    first.read_to_string(&mut untouched).unwrap();
    assert!(untouched == "a".repeat(100_000), "it was written in place");
    assert_eq!(after.mode() & 0o777, 0o640);
    let left: Vec<_> = fs::read_dir(world.data("writes/atomic"))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "atomic.txt")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_upload_that_ends_early_leaves_what_was_there() {
    let world = world();
    let path = world.broker.home().file("writes/cut/whole.txt", "whole");
    let mut stream = world.peer("writes").connect().unwrap();
    let head = format!(
        "PUT /files?path={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
        path.display()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 500_000]).unwrap();
    drop(stream);
    let outcome = || {
        let audit = world.broker.audit();
        let id = audit
            .iter()
            .find(|record| record["target"] == json!(path))?["id"]
            .clone();
        audit
            .into_iter()
            .find(|record| record["id"] == id && record["phase"] == "outcome")
    };
    rumi_tests::eventually("an outcome", || outcome().is_some());
    assert_ne!(outcome().unwrap()["reason"], "ok");
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    let drafts: Vec<_> = fs::read_dir(world.data("writes/cut"))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "whole.txt")
        .collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

#[test]
fn an_upload_of_any_size_arrives_whole() {
    let world = world();
    let content: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 253) as u8).collect();
    let path = world.data("writes/upload.bin");
    let peer = world.peer("writes");
    let target = format!("/files?path={}", path.display());
    let reply = peer.http("PUT", &target, &[], &content).ok();
    assert_eq!(reply["size"], "10000000");
    assert!(fs::read(&path).unwrap() == content);
    let again = peer.http("PUT", &format!("{target}&mode=create"), &[], b"x");
    assert_eq!(
        (again.status, again.code().as_str()),
        (409, "already_exists")
    );
    assert!(fs::read(&path).unwrap() == content);
}

#[test]
fn a_grpc_upload_of_any_size_arrives_whole_or_not_at_all() {
    let world = world();
    world.broker.home().data("writes");
    let content: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let path = world.data("writes/streamed.bin");
    let chunk = |path: String, mode: v1::WriteMode, size: u64, data: &[u8]| v1::FileWriteChunk {
        path,
        mode: mode.into(),
        size,
        data: data.to_vec().into(),
    };
    let whole = |mode: v1::WriteMode, size: u64| {
        let mut chunks = vec![chunk(world.at("writes/streamed.bin"), mode, size, b"")];
        let parts = content.chunks(1 << 20);
        chunks.extend(parts.map(|part| chunk(String::new(), v1::WriteMode::Replace, 0, part)));
        chunks
    };
    let peer = world.peer("writes");
    world.broker.block_on(async {
        let mut client = peer.grpc().await;
        let mut send = async |chunks: Vec<v1::FileWriteChunk>| {
            let sent = client.file_write_stream(tokio_stream::iter(chunks)).await;
            sent.map(|written| written.into_inner().size)
        };
        assert_eq!(
            send(whole(v1::WriteMode::Create, 0)).await.unwrap(),
            10_000_000
        );
        assert!(fs::read(&path).unwrap() == content);
        let again = send(whole(v1::WriteMode::Create, 0)).await.unwrap_err();
        assert_eq!(again.code(), tonic::Code::AlreadyExists);
        let append = send(whole(v1::WriteMode::Append, 0)).await.unwrap_err();
        assert!(append.message().contains("FileWrite"), "{append}");
        // The announced size is judged before anything is taken in.
        let large = send(whole(v1::WriteMode::Replace, u64::MAX))
            .await
            .unwrap_err();
        assert_eq!(large.code(), tonic::Code::PermissionDenied, "{large}");
        let mut renamed = whole(v1::WriteMode::Replace, 0);
        renamed[3].path = world.at("writes/elsewhere.bin");
        send(renamed).await.unwrap_err();
        assert!(send(Vec::new()).await.is_err());
    });
    assert!(fs::read(&path).unwrap() == content);
    assert!(!world.data("writes/elsewhere.bin").exists());
}

#[test]
fn directories_are_made_with_their_parents_only_where_asked() {
    let world = world();
    let peer = world.peer("writes");
    let mkdir = |path: &str, parents: bool| {
        peer.json("FileMkdir", &json!({"path": path, "parents": parents}))
    };
    let path = world.at("writes/tree/a/b");
    assert_eq!(mkdir(&path, false).status, 404);
    mkdir(&path, true).ok();
    assert!(world.data("writes/tree/a/b").is_dir());
    mkdir(&path, true).ok();
    assert_eq!(mkdir(&path, false).status, 409);
    mkdir(&world.at("writes/tree/c"), false).ok();
    assert!(world.data("writes/tree/c").is_dir());
}

#[test]
fn only_files_and_empty_directories_are_deleted() {
    let world = world();
    let home = world.broker.home();
    let peer = world.peer("writes");
    let delete = |name: &str| {
        peer.json("FileDelete", &json!({"path": world.at(name)}))
            .status
    };
    home.file("writes/deleting/file", "x");
    assert_eq!(delete("writes/deleting"), 400);
    assert_eq!(delete("writes/deleting/file"), 200);
    assert_eq!(delete("writes/deleting/file"), 404);
    assert_eq!(delete("writes/deleting"), 200);
    assert!(!world.data("writes/deleting").exists());
    // The granted directory itself is the admin's.
    assert!(delete("writes") >= 400);
    assert!(world.data("writes").is_dir());
}

#[test]
fn a_symlink_is_never_written_through() {
    let world = world();
    let outside = world.broker.home().file("secret/target", "untouched");
    world.broker.home().data("writes");
    let link = world.data("writes/link-out");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let directory = world.data("writes/directory-out");
    std::os::unix::fs::symlink(outside.parent().unwrap(), &directory).unwrap();
    let below = directory.join("target");
    for path in [&link, &below] {
        for mode in [
            "WRITE_MODE_REPLACE",
            "WRITE_MODE_APPEND",
            "WRITE_MODE_CREATE",
        ] {
            let message = json!({"path": path, "data": data("changed"), "mode": mode});
            world.peer("writes").json("FileWrite", &message);
            assert_eq!(
                fs::read_to_string(&outside).unwrap(),
                "untouched",
                "{mode} {path:?}"
            );
        }
    }
}

#[test]
fn a_file_with_a_name_elsewhere_is_not_written() {
    let world = world();
    let outside = world.broker.home().file("secret/linked", "untouched");
    world.broker.home().data("writes");
    let link = world.data("writes/hard-link");
    fs::hard_link(&outside, &link).unwrap();
    let message = json!({"path": link, "data": data("x"), "mode": "WRITE_MODE_APPEND"});
    let reply = world.peer("writes").json("FileWrite", &message);
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (403, "outside_directory")
    );
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
}

#[test]
fn a_file_is_renamed_within_what_is_granted() {
    let world = world();
    let home = world.broker.home();
    home.file("writes/renaming/from", "content");
    home.data("writes/renaming/to");
    let peer = world.peer("writes");
    let rename = |from: &str, to: &str| {
        let message = json!({"from": world.at(from), "to": world.at(to)});
        peer.json("FileRename", &message).status
    };
    assert_eq!(
        rename("writes/renaming/from", "writes/renaming/to/there"),
        200
    );
    assert!(!world.data("writes/renaming/from").exists());
    assert_eq!(
        fs::read_to_string(world.data("writes/renaming/to/there")).unwrap(),
        "content"
    );
    assert_eq!(rename("writes/renaming/from", "writes/renaming/x"), 404);
}

#[test]
fn grpc_does_the_same() {
    let world = world();
    let text = |name: &str| world.at(name);
    world.broker.home().data("writes");
    let peer = world.peer("writes");
    world.broker.block_on(async {
        let mut client = peer.grpc().await;
        let request = v1::FileMkdirRequest {
            path: text("writes/grpc"),
            parents: false,
        };
        client.file_mkdir(request).await.unwrap();
        let request = v1::FileWriteRequest {
            path: text("writes/grpc/a"),
            data: "hello".into(),
            mode: v1::WriteMode::Create.into(),
        };
        assert_eq!(
            client
                .file_write(request.clone())
                .await
                .unwrap()
                .into_inner()
                .size,
            5
        );
        let again = client.file_write(request).await.unwrap_err();
        assert_eq!(again.code(), tonic::Code::AlreadyExists);
        let request = v1::FileRenameRequest {
            from: text("writes/grpc/a"),
            to: text("writes/grpc/b"),
        };
        client.file_rename(request).await.unwrap();
        assert_eq!(
            fs::read_to_string(world.data("writes/grpc/b")).unwrap(),
            "hello"
        );
        let request = v1::FileDeleteRequest {
            path: text("writes/grpc/b"),
        };
        client.file_delete(request).await.unwrap();
        assert!(!world.data("writes/grpc/b").exists());
    });
}
