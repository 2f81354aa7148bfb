//! The worked examples do what their README says.

use rumi_tests::{Broker, Home};
use serde_json::json;

#[test]
fn the_worked_examples_work() {
    let home = Home::new();
    home.take_pack("docker/packs/examples");
    let file = home.file("texts/a.txt", "To be, or not to be.\nThat is it!");
    let broker = Broker::start(home);
    broker.up(&["examples"]);
    let call =
        |tool: &str, args: &serde_json::Value| broker.call(&format!("examples:tool:{tool}"), args);
    // A file must be granted, a text need not be.
    let read = json!({"file": file, "top": 1});
    let refused = call("text_analyser", &read);
    assert_eq!(refused.error()["reason"], "no_grant");
    let directories = json!([file.parent()]);
    let grant = json!({"file_read": {"enabled": true, "directories": directories}});
    broker.grant("examples:tool:text_analyser", &grant);
    let expected = json!({
        "characters": 32, "lines": 2, "sentences": 2, "words": 9, "different_words": 7,
        "longest_word": "That", "frequent": [{"word": "be", "times": 2}], "reading_seconds": 3,
    });
    assert_eq!(call("text_analyser", &read).data(), &expected);
    let both = json!({"file": file, "text": "x"});
    assert_eq!(
        call("text_analyser", &both).error_type(),
        "invalid_arguments"
    );

    let people = json!([{"n": 3, "of": "a"}, {"n": 1, "of": "b"}, {"n": 5, "of": "a"}]);
    let steps =
        |steps: serde_json::Value| call("list_processor", &json!({"list": people, "steps": steps}));
    let grouped = steps(json!([
        {"do": "keep", "by": "n", "is": ">", "than": 1},
        {"do": "sort", "by": "n", "reverse": true},
        {"do": "group", "by": "of"},
    ]));
    assert_eq!(
        grouped.data(),
        &json!({"a": [{"n": 5, "of": "a"}, {"n": 3, "of": "a"}]})
    );
    assert_eq!(steps(json!([{"do": "sum", "by": "n"}])).data(), 9);
    let wrong = steps(json!([{"do": "sort", "by": "n"}, {"do": "pick", "by": "age"}]));
    let message = wrong.error()["message"].as_str().unwrap();
    assert!(message.starts_with("/steps/1: "), "{message}");

    let checked = call(
        "data_validator",
        &json!({
            "records": [{"age": 3}, {"age": -1}, {"age": true}, {}],
            "rules": {"age": {"kind": "integer", "min": 0, "required": true}},
        }),
    );
    let problem = |at: &str, problem: &str| json!({"at": at, "problem": problem});
    assert_eq!(
        checked.data()["problems"],
        json!([
            problem("/records/1/age", "is less than 0"),
            problem("/records/2/age", "is no integer"),
            problem("/records/3/age", "is missing"),
        ])
    );

    let evaluate = |text: &str| call("mathematics", &json!({"expression": text}));
    assert_eq!(evaluate("sqrt(3**2 + 4**2)").data(), &json!({"value": 5.0}));
    for text in ["9**9**9", "().__class__", "__import__('os')", "[1]"] {
        assert_eq!(evaluate(text).error_type(), "ValueError", "{text}");
    }
    let summed = call("mathematics", &json!({"numbers": [1, 2, 3, 4]}));
    assert_eq!(summed.data()["median"], 2.5);
}
