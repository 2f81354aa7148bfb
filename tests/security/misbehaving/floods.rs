//! Too much of everything.

use serde_json::json;

use super::{Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[OUTPUT, MEMORY, PROCESSES, STORAGE, PROCESSORS];

const OUTPUT: &[Misdeed] = &[
    Misdeed::new("print_much", Ends::Done).amount(512),
    Misdeed::new("print_errors", Ends::Done).amount(512),
    Misdeed::new("print_one_line", Ends::Done).amount(64),
];
const MEMORY: &[Misdeed] = &[
    Misdeed::new("eat_memory", Ends::Error("memory")).beside(),
    Misdeed::new("eat_mapped_memory", Ends::Error("memory")),
    Misdeed::new("eat_memory_in_a_file", Ends::Error("memory")),
    Misdeed::new("eat_memory_in_children", Ends::Refused),
];
const PROCESSES: &[Misdeed] = &[
    Misdeed::new("fork_bomb", Ends::Refused).beside(),
    Misdeed::new("fork_wildly", Ends::Defined)
        .amount(3)
        .beside(),
    Misdeed::new("leave_zombies", Ends::Refused),
    Misdeed::new("thread_bomb", Ends::Refused),
];
const STORAGE: &[Misdeed] = &[
    Misdeed::new("fill_tmp", Ends::Refused),
    Misdeed::new("fill_workspace", Ends::Refused)
        .amount(512)
        .timeout_ms(20_000),
    Misdeed::new("fill_shared_memory", Ends::Refused),
    Misdeed::new("make_many_files", Ends::Refused),
    Misdeed::new("open_many", Ends::Refused),
];
const PROCESSORS: &[Misdeed] = &[Misdeed::new("burn_all_processors", Ends::Done)
    .amount(2)
    .beside()];

#[test]
fn output_is_cut_at_its_limit_and_costs_the_broker_nothing() {
    let scene = Scene::enter();
    let before = scene.memory();
    for called in scene.commit_all(OUTPUT) {
        let response = &called.response;
        assert!(response.truncated);
        assert!(
            response.stdout.len() + response.stderr.len() <= 3 << 20,
            "it came whole"
        );
    }
    let after = scene.memory();
    assert!(
        after < before + 64,
        "the broker grew from {before} to {after} MiB"
    );
}

#[test]
fn a_call_that_needs_too_much_memory_ends_alone() {
    Scene::enter().commit_all(MEMORY);
}

#[test]
fn a_fork_bomb_ends_at_its_limit_while_neighbours_are_answered() {
    Scene::enter().commit_all(PROCESSES);
}

#[test]
fn tmp_work_area_and_descriptors_have_a_limit_and_tmp_is_empty_at_the_next_call() {
    Scene::enter().commit_all(STORAGE);
}

#[test]
fn a_pack_gets_no_more_than_its_share_of_the_processors() {
    for called in Scene::enter().commit_all(PROCESSORS) {
        // Half a processor for two seconds, and what the quota's periods may add.
        let used = called.data()["cpu_seconds"].as_f64();
        assert!(used.is_some_and(|seconds| seconds < 1.5), "{}", json!(used));
    }
}
