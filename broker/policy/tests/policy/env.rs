//! env_read.

use rumi_policy::{EnvFound, EnvRead, EnvReadAsk};

use crate::world::{ask, policy, policy_with_scope, reason, remedy};

const GRANT: &str =
    r#"{"env_read": {"enabled": true, "allowed_keys": ["B_KEY", "A_KEY", "RUMI_SECRET"]}}"#;

fn one(key: &str) -> EnvReadAsk {
    EnvReadAsk::One(key.parse().unwrap())
}

#[test]
fn only_granted_keys_are_read() {
    let set = policy(GRANT);
    let permit = ask::<EnvRead>(&set, one("A_KEY")).unwrap();
    assert_eq!(
        permit
            .terms()
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["A_KEY"]
    );
    let denial = ask::<EnvRead>(&set, one("C_KEY")).unwrap_err();
    assert_eq!(denial.reason.as_str(), "key_not_allowed");
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool env_read C_KEY"
    );
    assert_eq!(
        reason(&ask::<EnvRead>(&set, one("a_key"))),
        "key_not_allowed"
    );
    assert_eq!(
        reason(&ask::<EnvRead>(&set, one("A_KEY_2"))),
        "key_not_allowed"
    );
}

#[test]
fn forbidden_keys_are_nobodys() {
    let set = policy(GRANT);
    for key in [
        "RUMI_SECRET",
        "RUMI_",
        "LD_PRELOAD",
        "SSH_AUTH_SOCK",
        "NOTIFY_SOCKET",
        "KUBECONFIG",
    ] {
        let denial = ask::<EnvRead>(&set, one(key)).unwrap_err();
        assert_eq!(
            (denial.reason.as_str(), remedy(&denial).as_str()),
            ("forbidden_by_scope", ""),
            "{key}"
        );
    }
}

#[test]
fn all_means_all_that_are_granted_and_not_forbidden() {
    let permit = ask::<EnvRead>(&policy(GRANT), EnvReadAsk::All).unwrap();
    let keys: Vec<_> = permit.terms().keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["A_KEY", "B_KEY"]);
    let none = policy(r#"{"env_read": {"enabled": true, "allowed_keys": []}}"#);
    assert_eq!(
        reason(&ask::<EnvRead>(&none, EnvReadAsk::All)),
        "key_not_allowed"
    );
}

#[test]
fn values_have_a_size() {
    let confirm = |bytes| {
        ask::<EnvRead>(&policy(GRANT), one("A_KEY"))
            .unwrap()
            .confirm(&EnvFound { bytes })
    };
    assert!(confirm(65536).is_ok());
    assert_eq!(reason(&confirm(65537)), "too_large");
    let wide = r#"{"env_read": {"enabled": true, "allowed_keys": ["A"], "max_bytes": 100}}"#;
    let scope = r#"{"version": "1.0", "description": "", "default_config": {}, "limits": {"max_bytes": 10}}"#;
    let set = policy_with_scope(wide, "env_read", scope);
    let answer = ask::<EnvRead>(&set, one("A"))
        .unwrap()
        .confirm(&EnvFound { bytes: 11 });
    assert_eq!(reason(&answer), "scope_limit");
}
