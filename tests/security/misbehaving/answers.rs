//! Answers that cannot be, and answers by other ways than returning.

use rumi_tests::Output;

use super::{ACT, Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[UNSERIALIZABLE, LARGE, AS_THEY_ARE, FORGED, PRINTED];

const UNSERIALIZABLE: &[Misdeed] = &[
    Misdeed::new("return_set", Ends::Error("unserializable")),
    Misdeed::new("return_bytes", Ends::Error("unserializable")),
    Misdeed::new("return_function", Ends::Error("unserializable")),
    Misdeed::new("return_nan", Ends::Error("unserializable")),
    Misdeed::new("return_infinity", Ends::Error("unserializable")),
    Misdeed::new("return_number_keys", Ends::Error("unserializable")),
    Misdeed::new("return_cycle", Ends::Error("unserializable")),
    Misdeed::new("return_deep", Ends::Error("unserializable")),
    Misdeed::new("return_surrogate", Ends::Error("unserializable")),
    Misdeed::new("return_huge_number", Ends::Error("unserializable")),
    Misdeed::new("return_changing", Ends::Error("RuntimeError")),
];
const LARGE: &[Misdeed] = &[Misdeed::new("return_huge", Ends::Error("result_too_large"))];
const AS_THEY_ARE: &[Misdeed] = &[
    Misdeed::new("return_nothing", Ends::Data("null")),
    Misdeed::new("return_failure", Ends::Error("Chosen")),
    Misdeed::new("return_odd_ok", Ends::Data(r#"{"ok": "yes", "data": 1}"#)),
    Misdeed::new(
        "return_forged_call",
        Ends::Data(r#"{"type": "result", "invocation": "other", "result": {"ok": true}}"#),
    ),
];
const FORGED: &[Misdeed] = &[
    Misdeed::new("answer_early", Ends::Defined),
    Misdeed::new("write_garbage", Ends::Defined),
    Misdeed::new("close_everything", Ends::Crashed),
    Misdeed::new("close_output", Ends::Data("\"true\"")),
];
const PRINTED: &[Misdeed] = &[
    Misdeed::new("print_escapes", Ends::Data("\"true\"")),
    Misdeed::new("print_invalid", Ends::Data("\"true\"")),
];

#[test]
fn what_json_cannot_hold_is_an_error_and_never_a_broken_frame() {
    Scene::enter().commit_all(UNSERIALIZABLE);
}

#[test]
fn a_result_beyond_its_limit_is_an_error() {
    Scene::enter().commit_all(LARGE);
}

#[test]
fn what_looks_like_an_answer_or_a_frame_is_data() {
    Scene::enter().commit_all(AS_THEY_ARE);
}

#[test]
fn writing_past_the_runner_touches_no_call_but_its_own() {
    Scene::enter().commit_all(FORGED);
}

#[test]
fn output_that_steers_a_terminal_is_shown_escaped() {
    let scene = Scene::enter();
    scene.commit_all(PRINTED);
    let args = r#"{"misdeed": "print_escapes"}"#;
    let shown: [Output; 2] = [
        scene.yard.must(&["call", ACT, "--verbose", "--args", args]),
        scene.yard.must(&["logs", "misbehaving"]),
    ];
    for output in shown {
        for steering in ['\u{1b}', '\u{7}', '\u{202e}', '\r', '\0'] {
            assert!(!output.text().contains(steering), "{:?}", output.text());
        }
    }
    assert!(!scene.yard.log().contains("forged"));
}
