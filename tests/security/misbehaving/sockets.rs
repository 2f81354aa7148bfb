//! Attacks on the broker's sockets and on the identity that they stand for.

use serde_json::json;

use super::{ACT, Ends, Misdeed, Scene};

pub(super) const ALL: &[&[Misdeed]] = &[OTHERS, CLAIMS, REQUESTS, CONNECTIONS, PASSED];

const OTHERS: &[Misdeed] = &[
    Misdeed::new("use_neighbour", Ends::Refused),
    Misdeed::new("use_all_sockets", Ends::Refused),
    Misdeed::new("replace_socket", Ends::Refused),
    Misdeed::new("call_admin", Ends::Refused),
];
const CLAIMS: &[Misdeed] = &[Misdeed::new("claim_identity", Ends::Refused)];
const REQUESTS: &[Misdeed] = &[
    Misdeed::new("send_malformed", Ends::Refused).timeout_ms(20_000),
    Misdeed::new("send_huge", Ends::Refused).amount(64),
    Misdeed::new("speak_slowly", Ends::Refused).timeout_ms(20_000),
];
const CONNECTIONS: &[Misdeed] = &[
    Misdeed::new("hold_connections", Ends::Defined)
        .amount(1000)
        .timeout_ms(20_000)
        .beside(),
    Misdeed::new("request_flood", Ends::Done).amount(2).beside(),
];
const PASSED: &[Misdeed] = &[
    Misdeed::new("pass_socket", Ends::Done),
    Misdeed::new("become_spare", Ends::Defined),
];

#[test]
fn a_component_reaches_no_socket_but_its_own_and_cannot_replace_any() {
    Scene::enter().commit_all(OTHERS);
}

#[test]
fn who_claims_to_be_another_is_recorded_as_itself() {
    let scene = Scene::enter();
    for called in scene.commit_all(CLAIMS) {
        assert!(!called.response.denials.is_empty(), "{called:?}");
        for denial in &called.response.denials {
            for record in scene.yard.records_of(&denial.record) {
                assert_eq!(record["component"], json!(ACT), "{record}");
            }
        }
    }
}

#[test]
fn malformed_huge_and_slow_requests_cost_the_broker_nothing() {
    let scene = Scene::enter();
    let before = scene.memory();
    scene.commit_all(REQUESTS);
    let after = scene.memory();
    assert!(
        after < before + 64,
        "the broker grew from {before} to {after} MiB"
    );
}

#[test]
fn one_component_that_floods_its_socket_starves_no_other() {
    Scene::enter().commit_all(CONNECTIONS);
}

#[test]
fn neither_a_connection_nor_the_place_of_a_spare_outlives_its_call() {
    let scene = Scene::enter();
    for misdeed in PASSED {
        scene.commit(misdeed);
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert!(!scene.workspace().join("late").exists(), "{}", misdeed.name);
    }
}
