//! `network`: one request, to the address that was judged.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_proto::v1;
use serde_json::{Value, json};

use crate::world::world;

fn url(host: &str, path: &str) -> String {
    format!("http://{host}:{}{path}", world().web.port())
}

fn fetch(message: &Value) -> rumi_tests::Reply {
    world().peer("network").json("NetworkFetch", message)
}

fn get(host: &str, path: &str) -> rumi_tests::Reply {
    fetch(&json!({"method": "GET", "url": url(host, path)}))
}

#[test]
fn a_granted_domain_is_fetched_with_method_headers_and_body() {
    for host in ["granted.test", "deep.wild.test", "127.0.0.1"] {
        let reply = get(host, "/hello");
        assert_eq!(reply.bytes("body"), b"hello", "{host}");
        let reply = reply.json();
        assert_eq!(reply["status"], 200);
        let headers = reply["headers"].as_array().unwrap();
        let tests = headers.iter().filter(|header| {
            header["name"]
                .as_str()
                .unwrap()
                .eq_ignore_ascii_case("x-test")
        });
        assert_eq!(tests.count(), 2, "{headers:?}");
    }
    let reply = fetch(&json!({
        "method": "POST", "url": url("granted.test", "/echo?q=1"),
        "headers": [{"name": "X-Mine", "value": "yes"}], "body": STANDARD.encode("sent"),
    }));
    assert_eq!(reply.bytes("body"), b"POST sent");
    assert_eq!(reply.json()["status"], 201);
    let seen = world().web.seen();
    let head = seen
        .iter()
        .find(|head| head.contains("/echo?q=1"))
        .unwrap()
        .to_lowercase();
    assert!(
        head.contains("x-mine: yes") && head.contains("host: granted.test"),
        "{head}"
    );
}

#[test]
fn a_redirect_is_shown_and_not_followed() {
    let reply = get("granted.test", "/redirect").ok();
    assert_eq!(reply["status"], 302);
    let headers = reply["headers"].to_string().to_lowercase();
    assert!(
        headers.contains("location") && headers.contains("/hello"),
        "{headers}"
    );
}

#[test]
fn a_name_that_is_refused_is_not_even_looked_up() {
    let world = world();
    assert_eq!(get("refused.test", "/hello").reason(), "domain_not_allowed");
    let other = fetch(&json!({"method": "GET", "url": "http://granted.test:81/"}));
    assert_eq!(other.reason(), "port_not_allowed");
    assert_eq!(get("here.test", "/blocked").reason(), "blocked_address");
    let asked = world.names.asked();
    assert!(!asked.contains(&"refused.test".to_owned()), "{asked:?}");
    assert!(asked.contains(&"here.test".to_owned()), "{asked:?}");
    let seen = world.web.seen();
    assert!(
        !seen.iter().any(|head| head.contains("/blocked")),
        "{seen:?}"
    );
}

#[test]
fn size_and_time_are_limited() {
    for path in ["/large/2000000", "/endless"] {
        let reply = get("granted.test", path);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (429, "resource_exhausted"),
            "{path}"
        );
    }
    assert_eq!(
        get("granted.test", "/large/1000000").bytes("body").len(),
        1_000_000
    );
    for timeout in [300, 0] {
        let started = Instant::now();
        let reply = fetch(
            &json!({"method": "GET", "url": url("granted.test", "/silent"), "timeoutMs": timeout}),
        );
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (504, "deadline_exceeded"),
            "{timeout}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(12),
            "{timeout}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn what_cannot_be_reached_is_unavailable_and_no_refusal() {
    let reply = get("unknown.test", "/");
    assert_eq!((reply.status, reply.code().as_str()), (503, "unavailable"));
    assert_eq!(reply.reason(), "");
}

#[test]
fn headers_that_would_change_whom_is_talked_to_are_refused() {
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "a b",
        "x\r\ny",
    ] {
        let headers = json!([{"name": name, "value": "evil.test"}]);
        let reply = fetch(
            &json!({"method": "GET", "url": url("granted.test", "/hello"), "headers": headers}),
        );
        assert_eq!(
            reply.status,
            400,
            "{name}: {}",
            String::from_utf8_lossy(&reply.body)
        );
    }
    let value = json!([{"name": "x", "value": "a\r\nb: c"}]);
    assert_eq!(
        fetch(&json!({"method": "GET", "url": url("granted.test", "/hello"), "headers": value}))
            .status,
        400
    );
}

#[test]
fn an_answer_by_grpc_and_its_records_say_the_same() {
    let world = world();
    let peer = world.peer("network");
    let reply = world.broker.block_on(async {
        let request = v1::NetworkFetchRequest {
            method: "GET".into(),
            url: url("granted.test", "/hello?token=hidden-in-the-log"),
            ..v1::NetworkFetchRequest::default()
        };
        peer.grpc()
            .await
            .network_fetch(request)
            .await
            .unwrap()
            .into_inner()
    });
    assert_eq!(
        (reply.status, reply.body.as_ref()),
        (200, b"hello".as_slice())
    );
    let audit = world.broker.audit();
    let all = serde_json::to_string(&audit).unwrap();
    assert!(
        !all.contains("hidden-in-the-log"),
        "the query of a URL may hold a secret"
    );
    let target = url("granted.test", "/hello");
    let decision = audit.iter().find(|record| {
        record["target"]
            .as_str()
            .is_some_and(|text| text.contains(&target))
    });
    let records = world
        .broker
        .records_of(decision.unwrap()["id"].as_str().unwrap());
    assert_eq!(records[1]["reason"], "ok");
    assert_eq!(records[1]["detail"]["bytes_out"], 5);
}

#[test]
fn a_name_is_answered_with_the_ports_that_may_be_opened() {
    let world = world();
    let resolve = |component: &str, host: &str| {
        let peer = world.peer(component);
        peer.json("NetworkResolve", &json!({"host": host}))
    };
    let reply = resolve("network", "any.wild.test").ok();
    assert_eq!(reply["ports"], json!([world.web.port()]));
    for (component, host, reason) in [
        ("network", "never.test", "domain_not_allowed"),
        ("network", "Granted.test", "bad_request"),
        ("none", "granted.test", "no_grant"),
        ("disabled", "granted.test", "disabled"),
    ] {
        assert_eq!(resolve(component, host).reason(), reason, "{host}");
    }
    let asked = world.names.asked();
    assert!(
        !asked.contains(&"any.wild.test".to_owned()) && !asked.contains(&"never.test".to_owned()),
        "nothing is looked up for it: {asked:?}"
    );
    let audit = world.broker.audit();
    let record = audit
        .iter()
        .find(|record| record["target"] == "never.test")
        .unwrap();
    assert_eq!(
        (&record["action"], &record["decision"]),
        (&json!("resolve"), &json!("deny"))
    );
}
