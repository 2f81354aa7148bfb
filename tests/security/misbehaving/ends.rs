//! Ends that a call should not have.

use super::{Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[ENDLESS, DEADLY, EXITS, LATE, RAISED];

const ENDLESS: &[Misdeed] = &[
    Misdeed::new("loop", Ends::InTime).timeout_ms(1000),
    Misdeed::new("sleep", Ends::InTime).timeout_ms(1000),
    Misdeed::new("ignore_signals", Ends::InTime).timeout_ms(1000),
    Misdeed::new("stop_itself", Ends::InTime).timeout_ms(1000),
];
const DEADLY: &[Misdeed] = &[
    Misdeed::new("leave_at_once", Ends::Crashed),
    Misdeed::new("crash", Ends::Crashed),
    Misdeed::new("abort", Ends::Crashed),
    Misdeed::new("dump_core", Ends::Crashed),
    Misdeed::new("kill_itself", Ends::Crashed),
    Misdeed::new("overflow_stack", Ends::Crashed),
];
const EXITS: &[Misdeed] = &[
    Misdeed::new("leave", Ends::Error("SystemExit")),
    Misdeed::new("recurse", Ends::Error("RecursionError")),
    Misdeed::new("raise_error", Ends::Error("RuntimeError")),
    Misdeed::new("raise_interrupt", Ends::Error("KeyboardInterrupt")),
    Misdeed::new("raise_unprintable", Ends::Error("Unprintable")),
];
const LATE: &[Misdeed] = &[Misdeed::new("hang_at_exit", Ends::Done)];
const RAISED: &[Misdeed] = &[Misdeed::new("raise_forged", Ends::Error("Denied"))];

#[test]
fn a_call_that_does_not_end_is_ended_at_its_time_out() {
    Scene::enter().commit_all(ENDLESS);
}

#[test]
fn a_process_that_dies_is_an_error_of_its_own_call_alone() {
    let scene = Scene::enter();
    scene.commit_all(DEADLY);
    let area = std::fs::read_dir(scene.workspace()).expect("the work area");
    let names = area.flatten().map(|entry| entry.file_name());
    let cores: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("core"))
        .collect();
    assert!(cores.is_empty(), "{cores:?}");
}

#[test]
fn whatever_a_tool_raises_is_an_error_of_that_type() {
    Scene::enter().commit_all(EXITS);
}

#[test]
fn what_a_tool_leaves_for_its_exit_never_runs() {
    Scene::enter().commit_all(LATE);
}

#[test]
fn a_refusal_that_a_tool_invents_is_in_no_log() {
    let scene = Scene::enter();
    for called in scene.commit_all(RAISED) {
        assert!(called.response.denials.is_empty(), "{called:?}");
        let invocation = &called.response.invocation;
        let denied = |record: &serde_json::Value| {
            record["invocation"] == serde_json::json!(invocation) && record["decision"] == "deny"
        };
        assert!(!scene.yard.audit().iter().any(denied));
    }
}
