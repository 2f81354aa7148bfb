//! Components of one container share its loopback interface, and nothing that goes over it.

use std::sync::OnceLock;

use rumi_tests::{Broker, Home};
use serde_json::{Value, json};

const FIRST: &str = "wires:tool:first";
const SECOND: &str = "wires:tool:second";
/// Nothing is granted to it.
const THIRD: &str = "wires:tool:third";

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| {
        let home = Home::new();
        home.take_pack("tests/packs/wires");
        let network = |domain: &str| json!({"network": {"enabled": true, "allowed_domains": [domain], "allowed_ports": [443, 8443]}});
        home.grant(FIRST, &network("*.first.test"));
        home.grant(SECOND, &network("*.second.test"));
        let broker = Broker::start(home);
        broker.up(&["wires"]);
        broker
    })
}

#[track_caller]
fn ask(component: &str, op: &str, args: &Value) -> Value {
    let called = broker().call(component, &json!({"op": op, "args": args}));
    called.data()["answer"].clone()
}

/// Like [`ask`], for what must not have waited for anything.
#[track_caller]
fn at_once(component: &str, op: &str, args: &Value) -> Value {
    let called = broker().call(component, &json!({"op": op, "args": args}));
    let data = called.data();
    assert!(data["seconds"].as_f64().unwrap() < 1.0, "{op}: {data}");
    data["answer"].clone()
}

/// The proxy of a component: its port, and the value of the header that it wants.
fn proxy(component: &str) -> (u16, String) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let environment = ask(component, "environment", &json!([]));
    let url = environment["HTTP_PROXY"].as_str().unwrap().to_owned();
    let (credentials, port) = url
        .trim_start_matches("http://")
        .split_once("@127.0.0.1:")
        .unwrap();
    let header = format!("Basic {}", STANDARD.encode(credentials));
    (port.parse().unwrap(), header)
}

fn head(line: &str, credentials: &str) -> String {
    format!("{line}\r\nHost: a.first.test\r\nProxy-Authorization: {credentials}\r\n\r\n")
}

#[test]
fn the_proxy_of_another_component_is_of_no_use() {
    let (port, credentials) = proxy(SECOND);
    let connect = "CONNECT a.second.test:443 HTTP/1.1";
    for (component, credentials, status) in [
        // With the secret, which it could have been given: the socket's user is another.
        (FIRST, credentials.as_str(), "403"),
        (FIRST, "Basic cnVtaTp4", "403"),
        // Its own, without the secret or with a wrong one.
        (SECOND, "Basic cnVtaTp4", "407"),
        (SECOND, "", "407"),
    ] {
        let request = head(connect, credentials);
        let answer = at_once(component, "connect", &json!(["127.0.0.1", port, request]));
        let answer = answer.as_str().unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let log = broker().must(&["audit", "query", "--component", SECOND]);
    assert!(!log.stdout.contains("\"tunnel\""), "{}", log.stdout);
}

#[test]
fn nothing_but_requests_for_a_proxy_pass_through_it() {
    let (port, credentials) = proxy(FIRST);
    for line in [
        "POST /rumi.v1.Worker/Spare HTTP/1.1",
        "POST /rumi.v1.Capabilities/EnvRead HTTP/1.1",
        "GET /files?path=/etc/passwd HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PRI * HTTP/2.0",
        "nonsense",
    ] {
        let request = head(line, &credentials);
        let answer = at_once(FIRST, "connect", &json!(["127.0.0.1", port, request]));
        assert!(
            answer.as_str().unwrap().starts_with("HTTP/1.1 400 "),
            "{line}: {answer}"
        );
    }
    // What passes is a request for a proxy, whatever path it has, and so is all that follows it.
    let upgrade = "Connection: Upgrade\r\nUpgrade: rumi-spare\r\nContent-Length: 0";
    let absolute = head(
        "POST http://a.first.test/rumi.v1.Worker/Spare HTTP/1.1",
        &credentials,
    );
    let first = head("GET http://a.first.test/ HTTP/1.1", &credentials);
    let then = format!("POST /rumi.v1.Worker/Spare HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n");
    for (request, status) in [
        (
            absolute.replacen("\r\n", &format!("\r\n{upgrade}\r\n"), 1),
            None,
        ),
        (format!("{first}{then}"), Some("HTTP/1.1 400 ")),
    ] {
        let answer = ask(FIRST, "connect", &json!(["127.0.0.1", port, request, 3]));
        let answer = answer.as_str().unwrap();
        assert!(answer.contains(status.unwrap_or("HTTP/1.1 ")), "{answer}");
        assert!(
            status.is_none() || answer.starts_with("HTTP/1.1 403 "),
            "{answer}"
        );
        assert!(!answer.contains("HTTP/1.1 101"), "{answer}");
        assert!(!answer.contains("rumi-spare"), "{answer}");
    }
    let long = format!("GET http://a/ HTTP/1.1\r\nX: {}", "x".repeat(70_000));
    let answer = at_once(FIRST, "connect", &json!(["127.0.0.1", port, long]));
    let answer = answer.as_str().unwrap();
    assert!(
        answer.contains("400 ") || answer.contains("reset"),
        "{answer}"
    );
}

#[test]
fn the_address_of_a_neighbours_name_is_closed_to_others() {
    let found = ask(SECOND, "resolve", &json!(["a.second.test"]));
    let address = found[0].as_str().unwrap();
    let foreign = at_once(FIRST, "resolve", &json!(["a.second.test"]));
    assert!(foreign.is_string(), "{foreign}");
    let before = records(SECOND);
    for port in [443, 8443] {
        let ended = at_once(FIRST, "connect", &json!([address, port, "hello"]));
        assert_eq!(ended, "Connection reset by peer");
    }
    assert_eq!(records(SECOND), before, "nothing was asked in its name");
}

/// How many records of tunnels a component has.
fn records(component: &str) -> usize {
    let log = broker().must(&["audit", "query", "--component", component]);
    log.stdout.matches("\"tunnel\"").count()
}

#[test]
fn where_questions_are_answered_is_taken_for_good() {
    for component in [FIRST, SECOND] {
        let said = ask(component, "take_names", &json!([]));
        for answer in said.as_array().unwrap() {
            assert_eq!(answer, "Address already in use", "{component}: {said}");
        }
    }
}

#[test]
fn a_port_that_a_neighbour_holds_is_not_answered_with() {
    let name = json!(["port.second.test"]);
    let found = ask(SECOND, "resolve", &name);
    assert!(found.is_array(), "{found}");
    // Once a name has its listeners, nobody takes their ports from them.
    assert_eq!(
        ask(FIRST, "occupy", &json!([8443])),
        "Address already in use"
    );
}

#[test]
fn floods_stop_at_their_bounds_and_the_neighbour_is_served() {
    let (port, _) = proxy(THIRD);
    ask(THIRD, "flood_queries", &json!([5000]));
    let open = ask(THIRD, "crowd", &json!(["127.0.0.1", port, 300]));
    assert!(open.as_u64().unwrap() <= 128, "{open}");
    let found = at_once(SECOND, "resolve", &json!(["b.second.test"]));
    assert!(found.is_array(), "{found}");
    let refused = ask(THIRD, "resolve", &json!(["b.third.test"]));
    assert!(
        refused == "EAI_NONAME" || refused == "EAI_NODATA",
        "{refused}"
    );
}
