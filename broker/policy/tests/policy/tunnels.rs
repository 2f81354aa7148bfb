//! network: tunnels, ports of a name, and paths of requests.

use rumi_policy::{
    Capability, Grant, Hello, Network, NetworkAsk, NetworkFound, PolicySet, Resolve, ResolveAsk,
    Tunnel, TunnelAsk, TunnelForm, TunnelFound,
};

use crate::world::{ME, ask, grant_text, policy, policy_with_scope, reason, remedy, scopes};

fn set() -> PolicySet {
    policy(
        r#"{"network": {"enabled": true, "allowed_ports": [443, 80, 8443, 6379], "allowed_domains":
            ["api.example.com", "*.wild.example", "odd.example:9443", "93.184.216.34", "localhost"],
            "tcp": ["db.example.com:5432", "api.example.com:8443", "[2606:4700::1]:25", "docker.example:2375",
            "metadata.google.internal:5432", "mail.example:80"]}}"#,
    )
}

fn connect(authority: &str) -> TunnelAsk {
    TunnelAsk::parse(authority).unwrap_or_else(|error| panic!("{authority}: {error}"))
}

#[test]
fn each_host_and_port_has_one_form() {
    let set = set();
    for (authority, expected) in [
        ("api.example.com:443", "tls"),
        ("api.example.com:80", "http"),
        ("api.example.com:8443", "tcp"),
        ("a.wild.example:8443", "tls"),
        ("odd.example:9443", "tls"),
        ("db.example.com:5432", "tcp"),
        ("mail.example:80", "tcp"),
        ("[2606:4700::1]:25", "tcp"),
        ("93.184.216.34:80", "http"),
        ("93.184.216.34:443", "sni_mismatch"),
        ("db.example.com:443", "domain_not_allowed"),
        ("db.example.com:5433", "domain_not_allowed"),
        ("x.db.example.com:5432", "forbidden_by_scope"),
        ("odd.example:443", "port_not_allowed"),
        ("wild.example:443", "domain_not_allowed"),
        ("api.example.com:6379", "forbidden_by_scope"),
        ("docker.example:2375", "forbidden_by_scope"),
        ("metadata.google.internal:5432", "forbidden_by_scope"),
        ("localhost:443", "forbidden_by_scope"),
    ] {
        let answer = ask::<Tunnel>(&set, connect(authority));
        let got = match &answer {
            Ok(permit) => permit.terms().form().as_str(),
            Err(denial) => denial.reason.as_str(),
        };
        assert_eq!(got, expected, "{authority}: {answer:?}");
    }
}

#[test]
fn a_tcp_entry_opens_no_requests() {
    let set = set();
    let get = NetworkAsk::parse("GET", "http://mail.example/").unwrap();
    assert_eq!(reason(&ask::<Network>(&set, get)), "domain_not_allowed");
}

#[test]
fn targets_of_connect_are_refused_rather_than_repaired() {
    for authority in [
        "",
        "a.example",
        "a.example:",
        "a.example:0",
        "a.example:0443",
        "a.example:65536",
        "A.example:443",
        "a.example.:443",
        "https://a.example:443",
        "a.example:443/",
        "user@a.example:443",
        "2606:4700::1:443",
        "[::ffff:1.2.3.4]:443",
        "0x7f.1:443",
        "2130706433:443",
        "a.example:443 ",
        "a.example\r\nHost:443",
    ] {
        let denial = TunnelAsk::parse(authority).unwrap_err();
        assert_eq!(denial.reason.as_str(), "bad_request", "{authority}");
    }
}

#[test]
fn an_open_tunnel_ends_when_its_form_changes() {
    let raw = policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["a.example"], "tcp": ["a.example:443"]}}"#,
    );
    let plain = policy(r#"{"network": {"enabled": true, "allowed_domains": ["a.example"]}}"#);
    let open = connect("a.example:443").open_as(TunnelForm::Raw);
    assert_eq!(reason(&ask::<Tunnel>(&raw, open.clone())), "ok");
    assert_eq!(reason(&ask::<Tunnel>(&plain, open)), "revoked");
}

fn found(addresses: &[&str], hello: Hello) -> TunnelFound {
    TunnelFound {
        network: NetworkFound {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            own: vec![],
            exceptions: vec![],
        },
        hello,
    }
}

#[test]
fn only_tls_for_the_host_passes() {
    let set = set();
    let confirm = |authority: &str, hello: Hello| {
        let permit = ask::<Tunnel>(&set, connect(authority)).unwrap();
        reason(&permit.confirm(&found(&["1.1.1.1"], hello)))
    };
    let named = |name: &str| Hello::Tls(Some(name.to_owned()));
    for (hello, expected) in [
        (named("api.example.com"), "ok"),
        (named("API.example.com"), "sni_mismatch"),
        (named("api.example.com."), "sni_mismatch"),
        (named("evil.example"), "sni_mismatch"),
        (named(""), "sni_mismatch"),
        (Hello::Tls(None), "sni_mismatch"),
        (Hello::Other, "sni_mismatch"),
        (Hello::Unread, "sni_mismatch"),
    ] {
        assert_eq!(
            confirm("api.example.com:443", hello.clone()),
            expected,
            "{hello:?}"
        );
    }
    assert_eq!(confirm("db.example.com:5432", Hello::Unread), "ok");
    assert_eq!(confirm("api.example.com:80", Hello::Unread), "ok");
}

#[test]
fn addresses_are_judged_before_and_after_the_hello() {
    let set = set();
    for authority in ["api.example.com:443", "db.example.com:5432"] {
        let permit = ask::<Tunnel>(&set, connect(authority)).unwrap();
        let bad = found(
            &["1.1.1.1", "10.0.0.1"],
            Hello::Tls(Some("api.example.com".to_owned())),
        );
        assert_eq!(
            reason(&permit.check_addresses(&bad.network)),
            "blocked_address"
        );
        assert_eq!(reason(&permit.confirm(&bad)), "blocked_address");
    }
}

#[test]
fn what_tls_hides_cannot_be_narrowed() {
    for (key, expected) in [
        (r#""methods": ["GET"]"#, "method_not_allowed"),
        (r#""paths": ["/v1/**"]"#, "path_not_allowed"),
    ] {
        let set = policy(&format!(
            r#"{{"network": {{"enabled": true, "allowed_domains": ["a.example"], "allowed_ports": [80, 443],
                "tcp": ["a.example:5432"], {key}}}}}"#
        ));
        let answer = |authority| reason(&ask::<Tunnel>(&set, connect(authority)));
        assert_eq!(answer("a.example:443"), expected);
        assert_eq!(answer("a.example:80"), "ok", "each request is decided");
        assert_eq!(
            answer("a.example:5432"),
            "ok",
            "`tcp` is said in so many words"
        );
        let permit = ask::<Resolve>(&set, ResolveAsk::parse("a.example").unwrap()).unwrap();
        let ports: Vec<u16> = permit.terms().ports().iter().map(|p| p.get()).collect();
        assert_eq!(ports, [80, 5432]);
    }
}

#[test]
fn a_scope_that_names_fewer_methods_narrows_tunnels_too() {
    let shipped = scopes();
    let shipped = shipped.iter().find(|file| file.name == "network.json");
    let mut scope: serde_json::Value = serde_json::from_slice(&shipped.unwrap().bytes).unwrap();
    let grant = r#"{"network": {"enabled": true, "allowed_domains": ["a.example"]}}"#;
    let mut answer = |methods: &[&str]| {
        scope["default_config"]["methods"] = methods.into();
        let set = policy_with_scope(grant, "network", &scope.to_string());
        reason(&ask::<Tunnel>(&set, connect("a.example:443")))
    };
    let all = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
    ];
    assert_eq!(answer(&["GET", "HEAD"]), "method_not_allowed");
    assert_eq!(answer(&all[1..]), "method_not_allowed");
    assert_eq!(answer(&all), "ok");
}

#[test]
fn a_name_has_the_ports_a_tunnel_would_be_allowed_to() {
    let set = set();
    let ports = |host: &str| {
        let permit = ask::<Resolve>(&set, ResolveAsk::parse(host).unwrap())?;
        Ok::<Vec<u16>, rumi_policy::Denial>(
            permit.terms().ports().iter().map(|p| p.get()).collect(),
        )
    };
    assert_eq!(ports("api.example.com").unwrap(), [80, 443, 8443]);
    assert_eq!(ports("b.wild.example").unwrap(), [80, 443, 8443]);
    assert_eq!(ports("odd.example").unwrap(), [9443]);
    assert_eq!(ports("db.example.com").unwrap(), [5432]);
    for (host, expected) in [
        ("other.example", "domain_not_allowed"),
        ("wild.example", "domain_not_allowed"),
        ("localhost", "forbidden_by_scope"),
        ("docker.example", "forbidden_by_scope"),
        ("metadata.google.internal", "forbidden_by_scope"),
    ] {
        assert_eq!(reason(&ports(host)), expected, "{host}");
    }
    assert_eq!(
        remedy(&ports("other.example").unwrap_err()),
        "packctl grant add default:tool:my_tool network other.example"
    );
    for host in [
        "",
        "A.example",
        "a.example.",
        "a..b",
        "a.example:443",
        "*.wild.example",
    ] {
        assert!(ResolveAsk::parse(host).is_err(), "{host}");
    }
}

#[test]
fn paths_narrow_requests_and_ambiguous_ones_are_refused() {
    let set = policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["a.example"],
            "paths": ["/v1/**", "/health", "/files/*/meta", "/"]}}"#,
    );
    for (path, expected) in [
        ("/v1/a/b?x=../..", "ok"),
        ("/v1/", "ok"),
        ("/health", "ok"),
        ("/health?deep=1", "ok"),
        ("/files/a%20b/meta", "ok"),
        ("", "ok"),
        ("/", "ok"),
        ("/v1/..a/.b", "ok"),
        ("/v1", "path_not_allowed"),
        ("/health/", "path_not_allowed"),
        ("/v2/", "path_not_allowed"),
        ("/files/a/b/meta", "path_not_allowed"),
        ("/V1/a", "path_not_allowed"),
        ("/v1/../admin", "path_not_allowed"),
        ("/v1/..", "path_not_allowed"),
        ("/v1/./a", "path_not_allowed"),
        ("/v1/%2e%2e/admin", "path_not_allowed"),
        ("/v1/.%2E/admin", "path_not_allowed"),
        ("/v1/..;a=b/admin", "path_not_allowed"),
        ("/v1/%252e%252e/admin", "path_not_allowed"),
        ("/v1/..%2fadmin", "path_not_allowed"),
        ("/v1/..%5cadmin", "path_not_allowed"),
        ("/v1/a%00b", "path_not_allowed"),
        ("/v1//admin", "path_not_allowed"),
        ("//v1/a", "path_not_allowed"),
    ] {
        let asked = NetworkAsk::parse("GET", &format!("https://a.example{path}")).unwrap();
        assert_eq!(reason(&ask::<Network>(&set, asked)), expected, "{path}");
    }
    let free = policy(r#"{"network": {"enabled": true, "allowed_domains": ["a.example"]}}"#);
    let asked = NetworkAsk::parse("GET", "https://a.example/a/../b").unwrap();
    assert_eq!(reason(&ask::<Network>(&free, asked)), "ok");
}

#[test]
fn entries_are_refused_with_their_field() {
    for (key, field) in [
        (r#""tcp": ["*.example.com:5432"]"#, "tcp[0]"),
        (r#""tcp": ["db.example.com"]"#, "tcp[0]"),
        (r#""tcp": ["DB.example.com:5432"]"#, "tcp[0]"),
        (r#""tcp": ["a.b:1", "a.b:0"]"#, "tcp[1]"),
        (r#""tcp": ["2606:4700::1:25"]"#, "tcp[0]"),
        (r#""tcp": "a.b:1""#, "tcp"),
        (r#""paths": ["v1/**"]"#, "paths[0]"),
        (r#""paths": ["/a/../b"]"#, "paths[0]"),
        (r#""paths": ["/a//b"]"#, "paths[0]"),
        (r#""paths": ["/[!a]"]"#, "paths[0]"),
        (r#""paths": ["/a b"]"#, "paths[0]"),
        (r#""paths": ["/["]"#, "paths[0]"),
        (r#""forbidden_tcp_ports": [1]"#, "forbidden_tcp_ports"),
    ] {
        let text = grant_text(&format!(
            r#"{{"network": {{"enabled": true, "allowed_domains": [], {key}}}}}"#
        ));
        let problem = Grant::parse(&format!("{ME}.json"), text.as_bytes()).unwrap_err();
        assert_eq!(
            problem.field.as_deref(),
            Some(format!("permissions.network.{field}").as_str()),
            "{key}: {problem:?}"
        );
    }
}

#[test]
fn records_name_host_and_port() {
    assert_eq!(
        Tunnel::target(&connect("[2606:4700::1]:443")),
        "[2606:4700::1]:443"
    );
    assert_eq!(Tunnel::action(&connect("a.example:443")), "tunnel");
    let asked = ResolveAsk::parse("a.example").unwrap();
    assert_eq!(
        (Resolve::action(&asked), &*Resolve::target(&asked)),
        ("resolve", "a.example")
    );
}

#[test]
fn the_remedy_for_what_is_no_tls_names_one_endpoint() {
    let set = set();
    for (authority, command) in [
        ("a.test:443", "network a.test"),
        ("a.test:80", "network a.test:80"),
        ("a.test:5432", "network tcp://a.test:5432"),
        ("93.184.216.34:443", "network tcp://93.184.216.34:443"),
        ("a.test:2375", ""),
        ("localhost:5432", ""),
    ] {
        let denial = ask::<Tunnel>(&set, connect(authority)).unwrap_err();
        assert!(
            remedy(&denial).ends_with(command),
            "{authority}: {denial:?}"
        );
        assert_eq!(
            remedy(&denial).is_empty(),
            command.is_empty(),
            "{authority}"
        );
    }
    let denial = ask::<Tunnel>(&policy("{}"), connect("a.test:5432")).unwrap_err();
    assert!(remedy(&denial).ends_with("tcp://a.test:5432"), "{denial:?}");
}

#[test]
fn grant_add_keeps_tcp_apart_from_domains() {
    use rumi_policy::{ComponentId, Permission, edit};
    let me: ComponentId = ME.parse().unwrap();
    let change = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        edit::Change::parse(Permission::Network, &values, &[])
    };
    let both = change(&["tcp://db.test:5432", "a.test"]).unwrap();
    let added = edit::add(None, &me, &both).unwrap();
    let grant = Grant::parse(&me.grant_file(), &added.bytes).unwrap();
    let network = grant.network().unwrap();
    assert_eq!(network.allowed_domains, ["a.test".parse().unwrap()]);
    assert_eq!(
        network.tcp.as_deref(),
        Some(&["db.test:5432".parse().unwrap()][..])
    );
    assert!(!edit::add(Some(&added.bytes), &me, &both).unwrap().changed);
    let raw = change(&["tcp://db.test:5432"]).unwrap();
    let removed = edit::remove(&added.bytes, &me, &raw).unwrap();
    let grant = Grant::parse(&me.grant_file(), &removed.bytes).unwrap();
    assert_eq!(grant.network().unwrap().tcp.as_deref(), Some(&[][..]));
    let plain = edit::add(None, &me, &change(&["a.test"]).unwrap()).unwrap();
    assert!(!String::from_utf8_lossy(&plain.bytes).contains("tcp"));
    assert!(!edit::remove(&plain.bytes, &me, &raw).unwrap().changed);
    for wrong in [
        "tcp://*.test:1",
        "tcp://a.test",
        "tcp://a.test:0",
        "tcp://a.test:1/",
    ] {
        assert!(change(&[wrong]).is_err(), "{wrong}");
    }
}
