//! `env_read`: from the file of secrets, from the broker's environment, and never from both.

use rumi_proto::v1;
use rumi_tests::{Broker, Home, Peer};
use serde_json::json;

use crate::world::{self, world};

#[test]
fn one_key_comes_from_the_secrets_before_the_environment() {
    let peer = world().peer("values");
    let cases = [
        ("SHOP_SECRET", "from the secrets"),
        ("SHOP_ENVIRONMENT", "from the environment"),
        ("SHOP_BOTH", "secret wins"),
    ];
    for (key, value) in cases {
        let reply = peer.json("EnvRead", &json!({"key": key})).ok();
        assert_eq!(reply, json!({"values": {key: value}}));
    }
    let reply = peer.json("EnvRead", &json!({"key": "SHOP_NOWHERE"}));
    assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"));
}

#[test]
fn without_a_key_all_allowed_ones_that_exist_come_and_no_others() {
    let world = world();
    let peer = world.peer("values");
    let expected = json!({
        "SHOP_SECRET": "from the secrets",
        "SHOP_ENVIRONMENT": "from the environment",
        "SHOP_BOTH": "secret wins",
    });
    assert_eq!(peer.json("EnvRead", &json!({})).ok()["values"], expected);
    let values = world.broker.block_on(async {
        let request = v1::EnvReadRequest { key: String::new() };
        peer.grpc()
            .await
            .env_read(request)
            .await
            .unwrap()
            .into_inner()
            .values
    });
    assert_eq!(json!(values), expected);
}

#[test]
fn no_value_is_ever_written_to_the_log_or_the_diagnostics() {
    let world = world();
    world.peer("values").json("EnvRead", &json!({})).ok();
    let home = world.broker.home();
    for directory in ["audit", "log"] {
        for entry in std::fs::read_dir(home.state().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            for value in ["from the secrets", "from the environment", "secret wins"] {
                assert!(!text.contains(value), "`{value}` is in {}", path.display());
            }
        }
    }
    let audit = world.broker.audit();
    let with = |record: &&serde_json::Value| record.to_string().contains("values_hmac");
    assert!(
        audit.iter().any(|record| with(&record)),
        "no fingerprint either"
    );
}

/// A broker without packs of its own running, and one component of it that may read keys.
fn own(configure: impl FnOnce(&Home)) -> (Broker, Peer) {
    let home = Home::new();
    let keys = json!(["SHOP_SECRET", "SHOP_BOTH"]);
    home.grant(
        "probe:tool:do",
        &json!({"env_read": {"enabled": true, "allowed_keys": keys}}),
    );
    configure(&home);
    let broker = Broker::start_with(home, &[("SHOP_BOTH", "environment wins")]);
    broker.up(&["probe"]);
    let peer = broker.as_component("probe:tool:do");
    (broker, peer)
}

#[test]
fn the_configuration_turns_the_order_of_the_sources_round() {
    let (_broker, peer) = own(|home| {
        world::secrets(home, 0o600);
        home.configure(|config| config["env"]["sources"] = json!(["environment", "secrets"]));
    });
    let reply = peer.json("EnvRead", &json!({})).ok();
    let expected = json!({"SHOP_BOTH": "environment wins", "SHOP_SECRET": "from the secrets"});
    assert_eq!(reply["values"], expected);
}
