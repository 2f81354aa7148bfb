//! Secrets: kept by `packctl secret`, sealed on disk, changed while packs run.

use std::fs;

use rumi_tests::{Broker, Home, Peer, eventually};
use serde_json::{Value, json};

use crate::world;

const ASKER: &str = "probe:tool:do";

/// A broker whose `probe:tool:do` may read two keys.
fn broker(prepare: impl FnOnce(&Home)) -> (Broker, Peer) {
    let home = Home::new();
    let keys = json!({"enabled": true, "allowed_keys": ["SHOP_SECRET", "SHOP_BOTH"]});
    home.grant(ASKER, &json!({"env_read": keys}));
    prepare(&home);
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let peer = broker.as_component(ASKER);
    (broker, peer)
}

fn value(peer: &Peer, key: &str) -> Value {
    peer.json("EnvRead", &json!({ "key": key })).ok()["values"][key].clone()
}

fn set(broker: &Broker, name: &str, value: &str) -> rumi_tests::Output {
    broker.home().packctl_fed(&["secret", "set", name], value)
}

#[test]
fn a_secret_comes_changes_and_goes_while_the_pack_runs() {
    let (mut broker, peer) = broker(|_| {});
    assert_eq!(
        peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status,
        404
    );
    set(&broker, "SHOP_SECRET", "canary-one\n")
        .ok()
        .says(&["kept `SHOP_SECRET`, version 1"]);
    assert_eq!(value(&peer, "SHOP_SECRET"), "canary-one");
    set(&broker, "SHOP_SECRET", "canary-two")
        .ok()
        .says(&["replaced `SHOP_SECRET`, version 2"]);
    assert_eq!(value(&peer, "SHOP_SECRET"), "canary-two");
    set(&broker, "NOBODYS", "canary-three").ok();
    let listed = broker.must(&["secret", "ls", "-o", "json"]);
    let listed = listed.json();
    assert_eq!(listed[0]["name"], "NOBODYS");
    assert_eq!(listed[0]["used_by"], json!([]));
    assert_eq!(listed[1]["name"], "SHOP_SECRET");
    assert_eq!(listed[1]["version"], 2);
    assert_eq!(listed[1]["used_by"], json!([ASKER]));

    broker.restart();
    eventually("the pack is adopted", || {
        peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status == 200
    });
    assert_eq!(value(&peer, "SHOP_SECRET"), "canary-two");
    broker
        .must(&["secret", "rm", "SHOP_SECRET"])
        .says(&["the grants of `probe:tool:do` still name `SHOP_SECRET`"]);
    assert_eq!(
        peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status,
        404
    );
    broker.packctl(&["secret", "rm", "SHOP_SECRET"]).exits(4);

    let records = broker.audit();
    let admin: Vec<(&str, &str)> = records
        .iter()
        .filter(|record| record["phase"] == "admin")
        .filter_map(|record| Some((record["action"].as_str()?, record["target"].as_str()?)))
        .filter(|(action, _)| action.starts_with("secret"))
        .collect();
    assert_eq!(
        admin,
        [
            ("secret_set", "SHOP_SECRET"),
            ("secret_set", "SHOP_SECRET"),
            ("secret_set", "NOBODYS"),
            ("secret_remove", "SHOP_SECRET"),
        ]
    );
    let all = Value::from(records).to_string();
    assert!(!all.contains("canary"), "the log holds no value");
    broker.verify().ok();
}

#[test]
fn what_was_kept_in_the_open_is_taken_over_at_the_start() {
    let (broker, peer) = broker(|home| world::secrets(home, 0o600));
    assert_eq!(value(&peer, "SHOP_SECRET"), "from the secrets");
    let state = broker.home().state();
    assert!(!state.join("secrets.json").exists());
    let sealed = fs::read(state.join("secrets.sealed")).unwrap();
    assert!(sealed.starts_with(b"rumi secrets 1 "));
    assert!(!sealed.windows(4).any(|window| window == b"from"));
    let records = broker.audit();
    let import = records
        .iter()
        .find(|record| record["action"] == "secret_import")
        .unwrap();
    assert_eq!(
        import["detail"]["names"],
        json!(["SHOP_BOTH", "SHOP_SECRET"])
    );
}

#[test]
fn a_plain_file_that_cannot_be_taken_over_stays_and_the_doctor_says_so() {
    for (content, mode, why) in [
        (r#"{"SHOP_SECRET": "canary"}"#, 0o644, "by others than root"),
        (
            r#"{"SHOP_SECRET": 5, "x": "canary"}"#,
            0o600,
            "line 1, column",
        ),
        (
            r#"{"SHOP-SECRET": "canary"}"#,
            0o600,
            "only letters, digits",
        ),
        (
            r#"{"SHOP_SECRET": "", "x": "canary"}"#,
            0o600,
            "the value is empty",
        ),
    ] {
        let (broker, peer) = broker(|home| {
            world::secrets(home, mode);
            fs::write(home.state().join("secrets.json"), content).unwrap();
        });
        assert_eq!(
            peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status,
            404
        );
        assert!(broker.home().state().join("secrets.json").exists());
        assert!(broker.log().contains(why), "{why}: {}", broker.log());
        assert!(!broker.log().contains("canary"));
        broker
            .packctl(&["doctor"])
            .exits(1)
            .says(&["secrets.json` holds secrets in the open and is not used"]);
    }
}

#[test]
fn a_store_that_was_touched_is_refused_and_never_overwritten() {
    let (mut broker, peer) = broker(|_| {});
    set(&broker, "SHOP_SECRET", "canary-one").ok();
    let path = broker.home().state().join("secrets.sealed");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for (bytes, why) in [
        (bad, "was cut or edited"),
        (Vec::new(), "was cut or edited"),
    ] {
        broker.kill9();
        fs::write(&path, &bytes).unwrap();
        broker.launch();
        eventually("the pack is adopted", || {
            peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status == 500
        });
        let reply = peer.json("EnvRead", &json!({"key": "SHOP_SECRET"}));
        assert!(!String::from_utf8_lossy(&reply.body).contains("secrets.sealed"));
        set(&broker, "OTHER", "x").exits(1).says(&[why, "hint: "]);
        broker.packctl(&["secret", "ls"]).exits(1).says(&[why]);
        broker.packctl(&["doctor"]).exits(1).says(&[why]);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    broker.kill9();
    fs::write(&path, good).unwrap();
    broker.launch();
    eventually("the pack is adopted", || {
        peer.json("EnvRead", &json!({"key": "SHOP_SECRET"})).status == 200
    });
    assert_eq!(value(&peer, "SHOP_SECRET"), "canary-one");
}
