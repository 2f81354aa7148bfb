//! The network as programs in a pack see it: a proxy, and names with addresses.

use std::sync::OnceLock;

use rumi_tests::{Broker, Home, eventually};
use serde_json::{Value, json};

const FIRST: &str = "wires:tool:first";
const SECOND: &str = "wires:tool:second";
const THIRD: &str = "wires:tool:third";

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let home = Home::new();
        home.take_pack("tests/packs/wires");
        let network = |domains: &[&str]| json!({"network": {"enabled": true, "allowed_domains": domains, "allowed_ports": [443, 8443]}});
        home.grant(FIRST, &network(&["first.test", "both.test"]));
        home.grant(SECOND, &network(&["second.test", "both.test"]));
        let broker = Broker::start(home);
        broker.up(&["wires"]);
        broker
    })
}

/// What an operation answered, which must not have waited for anything.
#[track_caller]
fn at_once(component: &str, op: &str, args: &Value) -> Value {
    let called = broker().call(component, &json!({"op": op, "args": args}));
    let data = called.data();
    assert!(data["seconds"].as_f64().unwrap() < 1.0, "{op}: {data}");
    data["answer"].clone()
}

#[track_caller]
fn address(component: &str, name: &str) -> String {
    let found = at_once(component, "resolve", &json!([name]));
    let [address] = found.as_array().map_or(&[][..], Vec::as_slice) else {
        panic!("{name}: {found}")
    };
    address.as_str().unwrap().to_owned()
}

#[test]
fn programs_are_told_of_the_proxy_and_of_the_authorities() {
    let mut seen = Vec::new();
    for component in [FIRST, SECOND] {
        let environment = at_once(component, "environment", &json!([]));
        let proxy = environment["HTTP_PROXY"].as_str().unwrap();
        for name in ["HTTPS_PROXY", "http_proxy", "https_proxy"] {
            assert_eq!(environment[name], proxy, "{name}");
        }
        assert!(proxy.starts_with("http://rumi:"), "{proxy}");
        assert_eq!(environment["NO_PROXY"], "localhost,127.0.0.1,::1");
        let programs = format!("/run/rumi/bin/{}", component.replace(':', "."));
        let path = environment["PATH"].as_str().unwrap();
        assert_eq!(path.split(':').next(), Some(programs.as_str()));
        let bundle = environment["SSL_CERT_FILE"].clone();
        assert_eq!(bundle, format!("/run/rumi/ca/{component}.pem"));
        for path in [json!([bundle]), json!([programs])] {
            assert_eq!(at_once(component, "exists", &path), true, "{path}");
        }
        seen.push(proxy.to_owned());
    }
    assert_ne!(seen[0], seen[1], "each component has its own");
}

#[test]
fn granted_names_have_addresses_and_others_do_not_exist() {
    for (component, name) in [(FIRST, "first.test"), (SECOND, "second.test")] {
        let found = address(component, name);
        let second: u8 = found.split('.').nth(1).unwrap().parse().unwrap();
        assert!(
            found.starts_with("127.") && (64..128).contains(&second),
            "{found}"
        );
        assert_eq!(address(component, name), found, "it stays the same");
    }
    for (component, name) in [
        (FIRST, "second.test"),
        (SECOND, "first.test"),
        (THIRD, "first.test"),
        (FIRST, "deep.first.test"),
        (FIRST, "example.com"),
    ] {
        let found = at_once(component, "resolve", &json!([name]));
        assert!(
            found == "EAI_NONAME" || found == "EAI_NODATA",
            "{name}: {found}"
        );
    }
    assert_ne!(address(FIRST, "both.test"), address(SECOND, "both.test"));
    let record = broker().must(&["audit", "query", "--component", THIRD]);
    assert!(record.stdout.contains("first.test"), "{}", record.stdout);
}

#[test]
fn a_grant_that_comes_and_goes_is_seen_in_the_next_question() {
    let name = json!(["later.test"]);
    assert!(at_once(THIRD, "resolve", &name).is_string());
    let granted = json!({"network": {"enabled": true, "allowed_domains": ["later.test"], "allowed_ports": [443]}});
    broker().grant(THIRD, &granted);
    let found = address(THIRD, "later.test");
    broker().ungrant(THIRD);
    assert!(at_once(THIRD, "resolve", &name).is_string());
    // Its address is nobody's any more.
    let refused = at_once(THIRD, "connect", &json!([found, 443]));
    assert_eq!(refused, "Connection refused");
}

#[test]
fn what_is_not_granted_is_refused_without_waiting() {
    let unreachable = at_once(FIRST, "connect", &json!(["192.0.2.1", 443]));
    assert_eq!(unreachable, "Network is unreachable");
    let found = address(FIRST, "first.test");
    let other_port = at_once(FIRST, "connect", &json!([found, 444]));
    assert_eq!(other_port, "Connection refused");
    let refused = at_once(THIRD, "get", &json!(["http://first.test/"]));
    assert_eq!(refused[0], 403, "{refused}");
    let refused = at_once(THIRD, "get", &json!(["https://first.test/"]));
    assert!(refused[1].as_str().unwrap().contains("403"), "{refused}");
}

#[test]
fn a_tunnel_that_is_refused_is_reset_and_the_log_says_why() {
    // The name may be asked for; where it leads is found out by the broker, which refuses it.
    let found = address(FIRST, "both.test");
    let ended = at_once(FIRST, "connect", &json!([found, 443]));
    assert_eq!(ended, "Connection reset by peer");
    eventually("the reason is in the log", || {
        let log = broker().packctl(&["logs", "wires"]).stdout;
        log.contains("no connection to both.test:443")
    });
}

/// `first.test`, with the letters' case as given, and the type of record.
fn query(name: &str, kind: u16) -> String {
    let mut bytes = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn questions_are_answered_over_both_protocols_in_any_spelling() {
    for stream in [false, true] {
        for name in ["first.test", "FiRsT.tEsT"] {
            let asked = query(name, 1);
            let answer = at_once(FIRST, "query", &json!([asked, stream]));
            let answer = answer.as_str().unwrap();
            assert!(answer.starts_with("123481800001000100000000"), "{answer}");
            assert!(answer.contains(&asked[24..]), "{answer}");
            assert!(answer.contains("c00c00010001000000010004 7f".replace(' ', "").as_str()));
        }
        // Other types: there is nothing, without an error. And what is no query gets no answer.
        for kind in [28, 64, 65] {
            let answer = at_once(FIRST, "query", &json!([query("first.test", kind), stream]));
            assert!(
                answer
                    .as_str()
                    .unwrap()
                    .starts_with("123481800001000000000000")
            );
        }
        let foreign = at_once(SECOND, "query", &json!([query("first.test", 1), stream]));
        assert!(
            foreign
                .as_str()
                .unwrap()
                .starts_with("123481830001000000000000")
        );
        let looped = "123401000001000000000000c00c00010001";
        let answer = at_once(FIRST, "query", &json!([looped, stream]));
        assert!(answer.as_str().unwrap().starts_with("12348181"), "{answer}");
    }
}
