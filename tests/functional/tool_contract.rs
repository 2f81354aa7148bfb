//! What a call of a tool answers.

use rumi_tests::shared;
use serde_json::{Value, json};

const OTHER: &str = "probe:tool:other";

#[test]
fn what_a_tool_returns_is_wrapped_unless_it_is_a_result_already() {
    let cases = [
        ("none", json!({"ok": true, "data": null})),
        ("text", json!({"ok": true, "data": "text"})),
        ("list", json!({"ok": true, "data": [1, 2]})),
        ("dict", json!({"ok": true, "data": {"a": 1}})),
        ("ok_alone", json!({"ok": true, "data": {"ok": true}})),
        (
            "ok_text",
            json!({"ok": true, "data": {"ok": "yes", "data": 1}}),
        ),
        ("ok_data", json!({"ok": true, "data": 5})),
        (
            "ok_error",
            json!({"ok": false, "error": {"message": "mine", "type": "own"}}),
        ),
    ];
    for (kind, expected) in cases {
        let called = shared().call(OTHER, &json!({"op": "raw", "args": [kind]}));
        assert_eq!(called.result, expected, "{kind}");
        assert_eq!(called.response.stopped_reason, "answered", "{kind}");
    }
}

#[test]
fn what_json_cannot_hold_is_an_error_of_its_own_type() {
    for kind in [
        "set",
        "nan",
        "infinity",
        "keys",
        "loop",
        "bytes",
        "surrogate",
    ] {
        let called = shared().call(OTHER, &json!({"op": "raw", "args": [kind]}));
        assert_eq!(called.error_type(), "unserializable", "{kind}");
        let message: &Value = &called.error()["message"];
        assert!(
            message.as_str().is_some_and(|text| !text.is_empty()),
            "{kind}"
        );
    }
}
