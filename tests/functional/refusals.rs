//! Every way to be refused: the code in the reply, and the same code in the log.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use prost::Message as _;
use rumi_proto::v1;
use serde_json::{Value, json};

use crate::world::{World, component, world};

/// Component, method, message, status, reason.
type Case = (&'static str, &'static str, Value, u16, &'static str);

fn cases(world: &World) -> Vec<Case> {
    let at = |name: &str| world.at(name);
    let port = world.web.port();
    let url = |host: &str| format!("http://{host}:{port}/hello");
    let read = |path: &str| json!({"path": path});
    let run = |argv: &[&str], directory: &str| json!({"argv": argv, "directory": directory});
    let fetch = |url: &str| json!({"method": "GET", "url": url});
    let everything = [
        ("FileRead", read(&at("reads/a.txt"))),
        ("FileList", read(&at("reads"))),
        ("FileStat", read(&at("reads/a.txt"))),
        ("FileWrite", json!({"path": at("writes/a"), "data": "eA=="})),
        ("FileMkdir", read(&at("writes/d"))),
        ("FileDelete", read(&at("writes/a"))),
        (
            "FileRename",
            json!({"from": at("writes/a"), "to": at("writes/b")}),
        ),
        ("EnvRead", json!({"key": "SHOP_SECRET"})),
        ("EnvRead", json!({})),
        ("TerminalRun", run(&["ls"], &at("commands"))),
        ("NetworkFetch", fetch(&url("granted.test"))),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (method, message) in everything {
        cases.push(("none", method, message.clone(), 403, "no_grant"));
        cases.push(("disabled", method, message, 403, "disabled"));
    }
    let outside = at("elsewhere/a.txt");
    cases.extend([
        (
            "reads",
            "FileRead",
            read(&outside),
            403,
            "outside_directory",
        ),
        (
            "reads",
            "FileRead",
            read(&at("readsnot/a")),
            403,
            "outside_directory",
        ),
        (
            "reads",
            "FileList",
            read(world.data("").parent().unwrap().to_str().unwrap()),
            403,
            "outside_directory",
        ),
        (
            "reads",
            "FileStat",
            read("/etc/passwd"),
            403,
            "outside_directory",
        ),
        (
            "reads",
            "FileRead",
            read("/etc/shadow"),
            403,
            "forbidden_by_scope",
        ),
        (
            "reads",
            "FileRead",
            read(&at("reads/drafts/x")),
            403,
            "pattern_excluded",
        ),
        (
            "reads",
            "FileRead",
            read(&at("reads/dir")),
            403,
            "not_a_file",
        ),
        (
            "reads",
            "FileRead",
            read(&at("reads/fifo")),
            403,
            "not_a_file",
        ),
        (
            "reads",
            "FileRead",
            read(&format!("{}/../elsewhere/a.txt", at("reads"))),
            400,
            "bad_request",
        ),
        ("reads", "FileRead", read("relative"), 400, "bad_request"),
        ("reads", "FileRead", read(""), 400, "bad_request"),
        ("reads", "FileRead", read("/a\u{0}b"), 400, "bad_request"),
        (
            "reads",
            "FileWrite",
            json!({"path": at("reads/a.txt")}),
            403,
            "no_grant",
        ),
        (
            "limited",
            "FileRead",
            read(&at("reads/big.bin")),
            403,
            "too_large",
        ),
        (
            "writes",
            "FileWrite",
            json!({"path": outside}),
            403,
            "outside_directory",
        ),
        (
            "writes",
            "FileWrite",
            json!({"path": "/etc/cron.d/x"}),
            403,
            "forbidden_by_scope",
        ),
        (
            "writes",
            "FileDelete",
            read(&outside),
            403,
            "outside_directory",
        ),
        (
            "writes",
            "FileRename",
            json!({"from": at("writes/a"), "to": outside}),
            403,
            "outside_directory",
        ),
        (
            "writes",
            "FileRename",
            json!({"from": outside, "to": at("writes/a")}),
            403,
            "outside_directory",
        ),
        ("writes", "FileRead", read(&at("writes/a")), 403, "no_grant"),
        (
            "values",
            "EnvRead",
            json!({"key": "PATH"}),
            403,
            "key_not_allowed",
        ),
        (
            "values",
            "EnvRead",
            json!({"key": "rumi_test_secret"}),
            403,
            "key_not_allowed",
        ),
        (
            "values",
            "EnvRead",
            json!({"key": "A=B"}),
            400,
            "bad_request",
        ),
        (
            "commands",
            "TerminalRun",
            run(&["head", "x"], &at("commands")),
            403,
            "command_not_allowed",
        ),
        (
            "commands",
            "TerminalRun",
            run(&["ls"], &at("elsewhere")),
            403,
            "outside_directory",
        ),
        (
            "commands",
            "TerminalRun",
            run(&["ls"], &at("commands/rooted")),
            403,
            "root_owned",
        ),
        (
            "commands",
            "TerminalRun",
            run(&["sudo", "ls"], &at("commands")),
            403,
            "forbidden_by_scope",
        ),
        (
            "commands",
            "TerminalRun",
            run(&[], &at("commands")),
            400,
            "bad_request",
        ),
        (
            "commands",
            "TerminalRun",
            run(&["./ls"], &at("commands")),
            400,
            "bad_request",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("refused.test")),
            403,
            "domain_not_allowed",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("wild.test")),
            403,
            "domain_not_allowed",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("http://granted.test:81/"),
            403,
            "port_not_allowed",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("http://granted.test:22/"),
            403,
            "forbidden_by_scope",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("here.test")),
            403,
            "blocked_address",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("intranet.test")),
            403,
            "blocked_address",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("metadata.test")),
            403,
            "blocked_address",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("mapped.test")),
            403,
            "blocked_address",
        ),
        (
            "network",
            "NetworkFetch",
            fetch(&url("mixed.test")),
            403,
            "blocked_address",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("ftp://granted.test/"),
            400,
            "bad_request",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("http://user@granted.test/"),
            400,
            "bad_request",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("http://granted.test:81@refused.test/"),
            400,
            "bad_request",
        ),
        (
            "network",
            "NetworkFetch",
            fetch("http://0x7f000001/"),
            400,
            "bad_request",
        ),
    ]);
    let hello = |method: &str| json!({"method": method, "url": url("granted.test")});
    let write = |data: &str| json!({"path": at("writes/narrow"), "data": data});
    cases.extend([
        (
            "narrow",
            "FileRead",
            read(&at("reads/notes/a.txt")),
            403,
            "pattern_excluded",
        ),
        (
            "narrow",
            "FileRead",
            read(&at("reads/notes/deep/a.md")),
            403,
            "pattern_excluded",
        ),
        (
            "narrow",
            "FileWrite",
            write("MDEyMzQ1Njc4OTA="),
            403,
            "too_large",
        ),
        ("narrow", "EnvRead", json!({}), 403, "too_large"),
        (
            "narrow",
            "TerminalRun",
            run(&["ls"], &at("commands")),
            403,
            "command_not_allowed",
        ),
        (
            "narrow",
            "NetworkFetch",
            hello("POST"),
            403,
            "method_not_allowed",
        ),
    ]);
    for command in [
        "ls | cat",
        "ls > x",
        "cat < x",
        "ls && ls",
        "ls; ls",
        "ls &",
        "cat $(ls)",
        "cat `ls`",
        "ls\nls",
        "ls 'x",
    ] {
        let message = json!({"command": command, "directory": at("commands")});
        cases.push(("commands", "TerminalRun", message, 400, "bad_request"));
    }
    cases
}

fn prepare(world: &World) {
    let home = world.broker.home();
    for name in [
        "reads/a.txt",
        "reads/drafts/x",
        "elsewhere/a.txt",
        "readsnot/a",
    ] {
        home.file(name, "x");
    }
    home.file("reads/big.bin", [0; 101]);
    home.data("reads/dir");
    let fifo = world.data("reads/fifo");
    if !fifo.exists() {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
    }
}

#[test]
fn every_refusal_has_its_code_in_the_reply_and_in_the_log() {
    let world = world();
    prepare(world);
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (name, method, message, status, reason) in cases(world) {
        let reply = world.peer(name).json(method, &message);
        if (reply.status, reply.reason().as_str()) != (status, reason) {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            wrong.push(format!(
                "{name} {method} {message}: not {status} {reason}: {} {body}",
                reply.status
            ));
            continue;
        }
        seen.push((name, method, message, reason, reply));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let audit = world.broker.audit();
    for (name, method, message, reason, reply) in seen {
        let id = reply.record();
        let of = |record: &&Value| record["id"] == json!(id) && record["decision"] == "deny";
        let record = audit.iter().find(of);
        let record =
            record.unwrap_or_else(|| panic!("{name} {method} {message}: no record `{id}`"));
        assert_eq!(record["reason"], reason, "{message}");
        assert_eq!(record["component"], component(name), "{message}");
        assert_eq!(record["pack"], "asker");
        assert_eq!(record["peer"]["uid"], world.peer(name).uid());
    }
}

#[test]
fn what_a_narrow_grant_leaves_is_allowed() {
    let world = world();
    world.broker.home().file("reads/notes/a.md", "noted");
    world.broker.home().data("writes");
    let narrow = world.peer("narrow");
    let note = json!({"path": world.at("reads/notes/a.md")});
    assert_eq!(narrow.json("FileRead", &note).bytes("data"), b"noted");
    let message = json!({"path": world.at("writes/narrow"), "data": "MDEyMzQ1Njc4OQ=="});
    narrow.json("FileWrite", &message).ok();
    // What stands there already counts: an append must not make it larger than granted.
    let message =
        json!({"path": world.at("writes/narrow"), "data": "MQ==", "mode": "WRITE_MODE_APPEND"});
    let reply = narrow.json("FileWrite", &message);
    assert_eq!((reply.status, reply.reason().as_str()), (403, "too_large"));
    assert_eq!(
        std::fs::read(world.data("writes/narrow")).unwrap(),
        b"0123456789"
    );
    narrow.json("EnvRead", &json!({"key": "SHOP_SECRET"})).ok();
    let message =
        json!({"method": "GET", "url": format!("http://granted.test:{}/hello", world.web.port())});
    let reply = narrow.json("NetworkFetch", &message);
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (429, "resource_exhausted")
    );
}

#[test]
fn a_refusal_carries_the_message_that_clients_of_the_protocol_decode() {
    let world = world();
    let reply = world.peer("none").json("EnvRead", &json!({"key": "A"}));
    let body = reply.json();
    assert_eq!(body["code"], "permission_denied");
    let detail = &body["details"][0];
    assert_eq!(detail["type"], "rumi.v1.Denial");
    let bytes = STANDARD_NO_PAD
        .decode(detail["value"].as_str().unwrap())
        .unwrap();
    let denial = v1::Denial::decode(bytes.as_slice()).unwrap();
    assert_eq!(denial.reason, "no_grant");
    assert_eq!(body["message"], denial.sentence);
    assert_eq!(denial.record, reply.record());
    assert_eq!(denial.record.len(), 16);
}

#[test]
fn grpc_refuses_with_the_same_code_and_record() {
    let world = world();
    let peer = world.peer("none");
    world.broker.block_on(async {
        let mut client = peer.grpc().await;
        let request = v1::FileReadRequest {
            path: "/a".into(),
            offset: 0,
            length: 0,
        };
        let status = client.file_read(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(status.metadata().get("rumi-reason").unwrap(), "no_grant");
        let record = status
            .metadata()
            .get("rumi-record")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(world.broker.records_of(&record).len(), 1);
        // A google.rpc.Status: the details hold the reason's text.
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(
            details.contains("rumi.v1.Denial") && details.contains(&record),
            "{details}"
        );
        let streamed = client.file_read_stream(request).await.unwrap_err();
        assert_eq!(streamed.metadata().get("rumi-reason").unwrap(), "no_grant");
    });
}

#[test]
fn what_cannot_be_read_as_a_request_is_an_invalid_argument_and_nothing_happens() {
    let world = world();
    let reads = world.peer("reads");
    let cases: [(&str, &[u8], u16, &str); 7] = [
        ("FileRead", b"{", 400, "invalid_argument"),
        ("FileRead", b"[]", 400, "invalid_argument"),
        ("FileRead", b"", 400, "invalid_argument"),
        ("FileRead", br#"{"path": 1}"#, 400, "invalid_argument"),
        (
            "FileRead",
            br#"{"path": "/a", "component": "x:tool:y"}"#,
            400,
            "invalid_argument",
        ),
        (
            "FileRead",
            br#"{"path": "/a", "offset": "-1"}"#,
            400,
            "invalid_argument",
        ),
        ("Nothing", b"{}", 501, "unimplemented"),
    ];
    for (method, body, status, code) in cases {
        let reply = reads.post(method, body);
        let text = String::from_utf8_lossy(body);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{text}"
        );
    }
    for (method, path) in [
        ("GET", "/files"),
        ("GET", "/files?path=%zz"),
        ("GET", "/files?path=/a&path=/b"),
        ("GET", "/files?path=/a&x=1"),
        ("PUT", "/files?path=/a&mode=maybe"),
        ("DELETE", "/files?path=/a"),
        ("GET", "/"),
    ] {
        let reply = reads.http(method, path, &[], b"");
        assert!(
            [400, 501].contains(&reply.status),
            "{method} {path}: {}",
            reply.status
        );
    }
}
