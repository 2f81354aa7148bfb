//! The Python SDK inside of a tool: everything it offers, and how it says no.

use serde_json::{Value, json};

use crate::world::{component, world};

fn call(op: &str, args: &Value, named: &Value) -> rumi_tests::Called {
    let args = json!({"op": op, "args": args, "kwargs": named});
    world().broker.call(&component("sdk"), &args)
}

#[test]
fn a_tool_reads_and_writes_files() {
    let world = world();
    let home = world.broker.home();
    let file = home.file("reads/sdk.txt", "0123456789");
    let none = json!({});
    assert_eq!(
        call("read_text", &json!([file]), &none).data(),
        "0123456789"
    );
    assert_eq!(
        call("read_file", &json!([file, 2, 3]), &none).data(),
        &json!({"base64": "MjM0"})
    );
    let large = home.file("reads/sdk-large.bin", vec![7; 5 << 20]);
    assert_eq!(call("stream", &json!([large]), &none).data(), 5 << 20);
    assert_eq!(call("stat", &json!([file]), &none).data()["size"], 10);
    let new = world.at("writes/sdk/new.txt");
    call(
        "mkdir",
        &json!([world.at("writes/sdk")]),
        &json!({"parents": true}),
    )
    .data();
    assert_eq!(call("write_file", &json!([new, "one"]), &none).data(), 3);
    assert_eq!(
        call(
            "write_file",
            &json!([new, " two"]),
            &json!({"append": true})
        )
        .data(),
        7
    );
    let called = call("write_file", &json!([new, "x"]), &json!({"create": true}));
    assert_eq!(called.error_type(), "Error");
    assert_eq!(std::fs::read_to_string(&new).unwrap(), "one two");
    let listed = call("list_dir", &json!([world.at("writes/sdk")]), &none);
    assert_eq!(listed.data(), &json!([{"name": "new.txt", "kind": "file"}]));
    call(
        "rename",
        &json!([new, world.at("writes/sdk/renamed")]),
        &none,
    )
    .data();
    call("delete", &json!([world.at("writes/sdk/renamed")]), &none).data();
    assert_eq!(
        std::fs::read_dir(world.data("writes/sdk")).unwrap().count(),
        0
    );
}

#[test]
fn a_tool_reads_keys_runs_commands_and_fetches() {
    let world = world();
    let none = json!({});
    assert_eq!(
        call("env", &json!(["SHOP_SECRET"]), &none).data(),
        "from the secrets"
    );
    assert_eq!(
        call("env", &json!([]), &none)
            .data()
            .as_object()
            .unwrap()
            .len(),
        3
    );
    let ran = call(
        "run",
        &json!([["cat"], world.at("commands")]),
        &json!({"stdin": "hello"}),
    );
    assert_eq!(ran.data()["stdout"], json!({"base64": "aGVsbG8="}));
    assert_eq!(ran.data()["exit_code"], 0);
    assert_eq!(ran.data()["stopped_reason"], "exited");
    let url = format!("http://granted.test:{}/hello", world.web.port());
    let fetched = call("fetch", &json!([url]), &none);
    assert_eq!(fetched.data()["status"], 200);
    assert_eq!(fetched.data()["body"], json!({"base64": "aGVsbG8="}));
}

#[test]
fn a_refusal_raises_denied_with_code_sentence_and_record() {
    let world = world();
    let cases = [
        ("read_file", json!(["/etc/hostname"]), "outside_directory"),
        (
            "write_file",
            json!([world.at("reads/x"), "x"]),
            "outside_directory",
        ),
        ("env", json!(["PATH"]), "key_not_allowed"),
        (
            "run",
            json!([["ls"], world.at("commands")]),
            "command_not_allowed",
        ),
        (
            "run",
            json!(["cat x | cat", world.at("commands")]),
            "bad_request",
        ),
        (
            "fetch",
            json!(["http://refused.test/"]),
            "domain_not_allowed",
        ),
    ];
    for (op, args, reason) in cases {
        let called = call(op, &args, &json!({}));
        assert_eq!(called.error_type(), "Denied", "{op}: {called:?}");
        assert_eq!(called.error()["reason"], reason, "{op}");
        let record = called.error()["record"].as_str().unwrap();
        let records = world.broker.records_of(record);
        assert!(
            records
                .iter()
                .any(|r| r["decision"] == "deny" && r["reason"] == reason),
            "{op}: {records:?}"
        );
    }
}
