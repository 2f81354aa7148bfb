//! Headers with secrets, and hosts whose TLS the broker ends.

use rumi_policy::{Network, NetworkAsk, PolicySet, Tunnel, TunnelAsk, TunnelForm};

use crate::world::{ask, policy, reason, source};

fn set() -> PolicySet {
    policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["api.test", "*.wild.test", "plain.test", "other.test"],
            "allowed_ports": [443, 80, 8443], "methods": ["GET"],
            "intercept": ["api.test"], "inject": {
              "api.test": {"Authorization": "Bearer ${secret:TOKEN}", "X-Team": "blue"},
              "a.wild.test": {"X-Key": "${secret:KEY}"},
              "http://plain.test": {"X-Key": "${secret:KEY}"}}}}"#,
    )
}

/// What is added to a request, or why it is refused.
fn added(url: &str) -> Vec<String> {
    let ask = ask::<Network>(&set(), NetworkAsk::parse("GET", url).unwrap());
    match ask {
        Ok(permit) => {
            let headers = permit.terms().inject().iter();
            headers
                .map(|(name, value)| format!("{name}: {value}"))
                .collect()
        }
        Err(denial) => vec![denial.reason.as_str().to_owned(), denial.sentence],
    }
}

#[test]
fn a_secret_is_for_its_host_and_goes_over_tls() {
    let both = ["authorization: Bearer ${secret:TOKEN}", "x-team: blue"];
    assert_eq!(added("https://api.test/x"), both);
    assert_eq!(added("https://api.test:8443/x"), both);
    assert_eq!(added("https://a.wild.test/"), ["x-key: ${secret:KEY}"]);
    assert_eq!(added("http://plain.test/"), ["x-key: ${secret:KEY}"]);
    for nothing in [
        "https://b.wild.test/",
        "https://other.test/",
        "https://plain.test/",
        "http://other.test/",
    ] {
        assert_eq!(added(nothing), [""; 0], "{nothing}");
    }
    let refused = added("http://api.test/x");
    assert_eq!(refused[0], "domain_not_allowed");
    assert!(refused[1].contains("over https only"), "{refused:?}");
    assert!(!refused[1].contains("TOKEN"), "the pack learns no names");
}

#[test]
fn a_host_that_is_intercepted_is_tunnelled_although_methods_are_narrowed() {
    let form = |target: &str| {
        let ask = ask::<Tunnel>(&set(), TunnelAsk::parse(target).unwrap());
        ask.map(|permit| permit.terms().form())
    };
    assert_eq!(form("api.test:443").unwrap(), TunnelForm::Intercepted);
    assert_eq!(form("api.test:8443").unwrap(), TunnelForm::Intercepted);
    assert_eq!(form("api.test:80").unwrap(), TunnelForm::Http);
    assert_eq!(reason(&form("other.test:443")), "method_not_allowed");
    assert_eq!(reason(&form("api.test:22")), "forbidden_by_scope");
}

#[test]
fn a_tunnel_that_was_open_in_another_form_is_not_kept() {
    let open = TunnelAsk::parse("api.test:443").unwrap();
    for (form, expected) in [
        (TunnelForm::Intercepted, "ok"),
        (TunnelForm::Tls, "revoked"),
    ] {
        assert_eq!(reason(&ask::<Tunnel>(&set(), open.open_as(form))), expected);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_and_named() {
    let long = "x".repeat(101);
    for (keys, why) in [
        (
            r#""inject": {"b.test": {"A": "x"}}"#,
            "`b.test` is not in `allowed_domains`",
        ),
        (
            r#""inject": {"*.api.test": {"A": "x"}}"#,
            "there are no wildcards",
        ),
        (
            r#""inject": {"https://api.test": {"A": "x"}}"#,
            "leave `https://` out",
        ),
        (r#""inject": {"api.test:443": {"A": "x"}}"#, "api.test:443"),
        (
            r#""inject": {"API.test": {"A": "x"}}"#,
            "only lower-case letters",
        ),
        (r#""inject": {"api.test": {}}"#, "1 to 16 headers"),
        (
            r#""inject": {"api.test": {"A": "x", "a": "y"}}"#,
            "stands here twice",
        ),
        (
            r#""inject": {"api.test": {"": "x"}}"#,
            "1 to 100 characters",
        ),
        (
            r#""inject": {"api.test": {"A B": "x"}}"#,
            "letters, digits and hyphens",
        ),
        (r#""inject": {"api.test": {"A": 5}}"#, "must be a string"),
        (
            r#""inject": {"api.test": {"A": "${secret:}"}}"#,
            "it is empty",
        ),
        (
            r#""inject": {"api.test": {"A": "$${TOKEN}"}}"#,
            "write `${secret:NAME}`",
        ),
        (r#""inject": {"api.test": {"A": "größe"}}"#, "visible ASCII"),
        (r#""inject": {"api.test": "x"}"#, "must be an object"),
        (r#""inject": []"#, "must be an object"),
        (
            r#""intercept": ["b.test"]"#,
            "`b.test` is not in `allowed_domains`",
        ),
        (r#""intercept": ["192.0.2.7"]"#, "is an address"),
        (r#""intercept": ["*.api.test"]"#, "is not a host"),
        (r#""intercept": ["api.test", "api.test"]"#, "twice"),
        (
            &format!(r#""inject": {{"api.test": {{"{long}": "x"}}}}"#),
            "1 to 100 characters",
        ),
    ] {
        let grant = format!(
            r#"{{"network": {{"enabled": true, "allowed_domains": ["api.test", "192.0.2.7"], {keys}}}}}"#
        );
        let set = PolicySet::compile(source(&grant));
        let problems: Vec<_> = set.problems().iter().map(ToString::to_string).collect();
        assert!(
            problems.iter().any(|text| text.contains(why)),
            "{keys}: {problems:?}"
        );
        assert!(
            problems
                .iter()
                .all(|text| text.contains("permissions.network.in")),
            "{problems:?}"
        );
    }
    for name in [
        "Host",
        "Content-Length",
        "TRANSFER-ENCODING",
        "Connection",
        "Proxy-Authorization",
        "te",
    ] {
        let grant = format!(
            r#"{{"network": {{"enabled": true, "allowed_domains": ["api.test"], "inject": {{"api.test": {{"{name}": "x"}}}}}}}}"#
        );
        let set = PolicySet::compile(source(&grant));
        let text = set.problems()[0].to_string();
        assert!(text.contains("steers the connection"), "{text}");
    }
}

#[test]
fn a_grant_knows_which_secrets_it_uses() {
    let set = set();
    let grant = set.grant(&crate::world::me()).unwrap();
    let mut used: Vec<_> = grant.used_secrets().map(ToString::to_string).collect();
    used.sort();
    assert_eq!(used, ["KEY", "KEY", "TOKEN"]);
    assert!(grant.names_secret(&"TOKEN".parse().unwrap()));
    assert!(!grant.names_secret(&"OTHER".parse().unwrap()));
}
