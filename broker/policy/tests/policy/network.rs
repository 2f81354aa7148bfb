//! network.

use std::net::IpAddr;

use rumi_policy::{Capability, Network, NetworkAsk, NetworkFound, PolicySet};

use crate::world::{ask, policy, reason, remedy};

fn set() -> PolicySet {
    policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["api.example.com", "*.wild.example", "odd.example:8443",
            "*.odd.example:9443", "127.0.0.1", "[2606:4700::1]:8080"], "allowed_ports": [443, 80]}}"#,
    )
}

fn get(url: &str) -> NetworkAsk {
    NetworkAsk::parse("GET", url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn found(addresses: &[&str]) -> NetworkFound {
    NetworkFound {
        addresses: ips(addresses),
        own: vec![],
        exceptions: vec![],
    }
}

#[test]
fn domains_and_ports() {
    let set = set();
    for (url, expected) in [
        ("https://api.example.com/x", "ok"),
        ("http://api.example.com/", "ok"),
        ("https://api.example.com:80/", "ok"),
        ("https://api.example.com:8443/", "port_not_allowed"),
        ("https://example.com/", "domain_not_allowed"),
        ("https://x.api.example.com/", "domain_not_allowed"),
        ("https://a.wild.example/", "ok"),
        ("https://a.b.wild.example/", "ok"),
        ("https://wild.example/", "domain_not_allowed"),
        ("https://evilwild.example/", "domain_not_allowed"),
        ("https://odd.example:8443/", "ok"),
        ("https://odd.example/", "port_not_allowed"),
        ("https://a.odd.example:9443/", "ok"),
        ("https://a.odd.example/", "port_not_allowed"),
        ("https://api.example.com.evil.org/", "domain_not_allowed"),
        ("http://127.0.0.1/", "ok"),
        ("http://127.0.0.2/", "domain_not_allowed"),
        ("http://[2606:4700::1]:8080/", "ok"),
        ("http://[2606:4700::1]/", "port_not_allowed"),
        ("http://[::1]/", "domain_not_allowed"),
        ("http://localhost/", "forbidden_by_scope"),
        ("http://a.localhost/", "forbidden_by_scope"),
        ("http://metadata.google.internal/", "forbidden_by_scope"),
        ("http://printer.local/", "forbidden_by_scope"),
        ("https://api.example.com:22/", "forbidden_by_scope"),
        ("https://api.example.com:6379/", "forbidden_by_scope"),
    ] {
        assert_eq!(reason(&ask::<Network>(&set, get(url))), expected, "{url}");
    }
}

#[test]
fn remedies_name_host_and_port() {
    let nothing = policy("{}");
    for (url, value) in [
        ("https://a.example/x?y", "a.example"),
        ("http://a.example/", "a.example:80"),
        ("https://a.example:8443/", "a.example:8443"),
        ("https://[2606:4700::2]/", "'[2606:4700::2]:443'"),
    ] {
        let denial = ask::<Network>(&nothing, get(url)).unwrap_err();
        assert_eq!(
            remedy(&denial),
            format!("packctl grant add default:tool:my_tool network {value}")
        );
    }
    assert_eq!(
        remedy(&ask::<Network>(&nothing, get("http://localhost/")).unwrap_err()),
        ""
    );
    let odd = NetworkAsk::parse("PROPFIND", "https://a.example/").unwrap();
    assert_eq!(
        remedy(&ask::<Network>(&nothing, odd).unwrap_err()),
        "",
        "the host alone would not do"
    );
}

#[test]
fn methods() {
    let set = policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["a.example"], "methods": ["GET"]}}"#,
    );
    let method = |method| NetworkAsk::parse(method, "https://a.example/").unwrap();
    assert_eq!(reason(&ask::<Network>(&set, method("GET"))), "ok");
    assert_eq!(
        reason(&ask::<Network>(&set, method("POST"))),
        "method_not_allowed"
    );
    let other = NetworkAsk::parse("POST", "https://b.example/").unwrap();
    let denial = ask::<Network>(&set, other).unwrap_err();
    assert_eq!(
        (denial.reason.as_str(), remedy(&denial).as_str()),
        ("domain_not_allowed", "")
    );
}

#[test]
fn what_is_narrowed_is_not_said_a_second_time_in_a_header() {
    let of = |keys: &str| {
        policy(&format!(
            r#"{{"network": {{"enabled": true, "allowed_domains": ["a.example"]{keys}}}}}"#
        ))
    };
    let wide = of("");
    let methods = of(r#", "methods": ["GET"]"#);
    let paths = of(r#", "paths": ["/"]"#);
    for (name, by_methods, by_paths) in [
        ("accept", "ok", "ok"),
        ("x-forwarded-for", "ok", "ok"),
        ("X-HTTP-Method-Override", "method_not_allowed", "ok"),
        ("x-http-method", "method_not_allowed", "ok"),
        ("x-method-override", "method_not_allowed", "ok"),
        ("x_http_method_override", "method_not_allowed", "ok"),
        ("x-original-url", "ok", "path_not_allowed"),
        ("X-Rewrite-URL", "ok", "path_not_allowed"),
        ("x-forwarded-uri", "ok", "path_not_allowed"),
        ("x-forwarded-path", "ok", "path_not_allowed"),
        ("x-forwarded-prefix", "ok", "path_not_allowed"),
    ] {
        for (set, expected) in [(&wide, "ok"), (&methods, by_methods), (&paths, by_paths)] {
            let asked = get("https://a.example/").with_headers(["accept", name]);
            assert_eq!(reason(&ask::<Network>(set, asked)), expected, "{name}");
        }
    }
}

#[test]
fn every_address_is_judged_and_one_bad_one_denies() {
    let set = set();
    let confirm = |found: &NetworkFound| {
        ask::<Network>(&set, get("https://api.example.com/"))
            .unwrap()
            .confirm(found)
    };
    let good = confirm(&found(&["1.1.1.1", "::ffff:8.8.8.8"])).unwrap();
    assert_eq!(
        good.facts().addresses(),
        ips(&["1.1.1.1", "8.8.8.8"]),
        "mapped ones are dialled as what they are"
    );
    for bad in [
        &["127.0.0.1"][..],
        &["1.1.1.1", "10.0.0.1"],
        &["10.0.0.1", "1.1.1.1"],
        &["::ffff:169.254.169.254"],
        &["64:ff9b::a00:1"],
        &[],
    ] {
        let denial = confirm(&found(bad)).unwrap_err();
        assert_eq!(denial.reason.as_str(), "blocked_address", "{bad:?}");
        assert!(
            !bad.iter().any(|address| denial.sentence.contains(address)),
            "the pack learns no address: {denial}"
        );
        assert!(denial.detail.is_some());
    }
    let own = NetworkFound {
        own: ips(&["1.1.1.1"]),
        ..found(&["1.1.1.1"])
    };
    assert_eq!(reason(&confirm(&own)), "blocked_address");
    let exceptions = vec!["10.0.0.0/24".parse().unwrap()];
    let intranet = NetworkFound {
        exceptions: exceptions.clone(),
        ..found(&["10.0.0.9"])
    };
    assert_eq!(reason(&confirm(&intranet)), "ok");
    let beside = NetworkFound {
        exceptions,
        ..found(&["10.0.0.9", "10.0.1.9"])
    };
    assert_eq!(reason(&confirm(&beside)), "blocked_address");
}

#[test]
fn an_address_resolves_to_itself() {
    let set = set();
    let confirm = |found: &NetworkFound| {
        ask::<Network>(&set, get("http://127.0.0.1/"))
            .unwrap()
            .confirm(found)
    };
    assert_eq!(
        reason(&confirm(&found(&["127.0.0.1"]))),
        "blocked_address",
        "a grant is no exception to the table"
    );
    assert_eq!(reason(&confirm(&found(&["1.1.1.1"]))), "blocked_address");
}

#[test]
fn records_hold_no_query() {
    let asked = get("https://api.example.com:444/a?token=secret");
    assert_eq!(Network::target(&asked), "GET https://api.example.com:444/a");
    assert_eq!(Network::action(&asked), "fetch");
}
