//! `requests`, which takes the proxy from its environment.

use serde_json::json;

use crate::{surroundings::sees_nothing_else, world::world};

#[test]
fn a_granted_page_is_fetched_and_nothing_else_is_seen() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:granted";
    world.grant_hosts(component, &["www.example.test"]);
    let page = json!({"url": "https://www.example.test/hello?key=hidden-in-the-log"});
    let ran = sees_nothing_else(world, component, "fetch", &page);
    assert_eq!(ran.answered()["text"], "hello\n", "{ran:?}");
    let seen = world.origin.seen_at("/hello?key=hidden-in-the-log");
    assert_eq!(seen[0].sni.as_deref(), Some("www.example.test"));
    // Over plain HTTP the broker sees the request and sends it on.
    let page = json!({"url": "http://www.example.test/echo", "method": "POST", "data": "sent"});
    let ran = world.run(component, "fetch", &page);
    assert_eq!(
        (&ran.answered()["status"], &ran.answer["text"]),
        (&json!(201), &json!("sent"))
    );
    let seen = world.origin.seen_at("/echo");
    let headers = &seen[0].headers;
    assert!(
        !headers.iter().any(|(name, _)| name.starts_with("proxy-")),
        "what is between guest and broker was sent on: {headers:?}"
    );
    let records = world.records(component, "www.example.test");
    let decision = &records[0];
    assert_eq!(
        (
            &decision["permission"],
            &decision["decision"],
            &decision["phase"]
        ),
        (&json!("network"), &json!("allow"), &json!("decision")),
        "{records:#?}"
    );
    let outcomes: Vec<_> = records
        .iter()
        .filter(|record| record["phase"] == "outcome")
        .collect();
    assert!(!outcomes.is_empty(), "{records:#?}");
    for outcome in outcomes {
        assert_eq!(outcome["reason"], "ok", "{records:#?}");
    }
    let (out, sent) = world.bytes(component, "www.example.test");
    assert!(out > 0 && sent > 0, "{records:#?}");
    let log = serde_json::to_string(&world.broker.audit()).unwrap();
    assert!(
        !log.contains("hidden-in-the-log"),
        "the query of a URL may hold a secret"
    );
}

#[test]
fn a_page_that_was_not_granted_is_a_403_at_once() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:refused";
    let (page, plain) = (
        json!({"url": "https://www.example.test/refused"}),
        json!({"url": "http://www.example.test/refused"}),
    );
    for (granted, reason) in [
        (None, "no_grant"),
        (Some("other.example.test"), "domain_not_allowed"),
    ] {
        if let Some(host) = granted {
            world.grant_hosts(component, &[host]);
        }
        let ran = world.run(component, "fetch", &page);
        let error = ran.raised_at_once();
        assert!(
            error.contains("ProxyError") && error.contains("403"),
            "{error}"
        );
        let denial = ran.denied(reason, "www.example.test");
        assert_eq!(denial.permission, "network");
        // A plain request has a body that can say it.
        let ran = world.run(component, "fetch", &plain);
        assert_eq!(ran.answered()["status"], 403, "{ran:?}");
        let text = ran.answer["text"].as_str().unwrap();
        let record = &ran.denied(reason, "www.example.test").record;
        assert!(text.contains(reason) && text.contains(record), "{text}");
        assert!(ran.took < crate::world::AT_ONCE, "{ran:?}");
    }
    assert!(world.origin.seen_at("/refused").is_empty());
}

#[test]
fn the_remedy_that_a_refusal_names_is_what_makes_it_work() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:remedied";
    let page = json!({"url": "https://www.example.test/hello"});
    let ran = world.run(component, "fetch", &page);
    ran.raised_at_once();
    let denial = ran.denied("no_grant", "www.example.test");
    assert_eq!(
        denial.remedy,
        format!("packctl grant add {component} network www.example.test")
    );
    world.apply(denial);
    assert_eq!(
        world.run(component, "fetch", &page).answered()["text"],
        "hello\n"
    );
}

#[test]
fn each_hop_of_a_redirect_is_a_decision_of_its_own() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:redirected";
    world.grant_hosts(component, &["www.example.test"]);
    let to =
        |target: &str| json!({"url": format!("https://www.example.test/redirect?to={target}")});
    let ran = world.run(component, "fetch", &to("https://www.example.test/hello"));
    let answer = ran.answered();
    assert_eq!(
        (&answer["text"], &answer["url"]),
        (&json!("hello\n"), &json!("https://www.example.test/hello"))
    );
    assert_eq!(answer["hops"].as_array().unwrap().len(), 1);
    let ran = world.run(component, "fetch", &to("https://other.example.test/hop"));
    assert!(ran.raised_at_once().contains("403"), "{ran:?}");
    ran.denied("domain_not_allowed", "other.example.test");
    let ran = world.run(
        component,
        "fetch",
        &to("http://169.254.169.254/latest/meta-data"),
    );
    assert_eq!(ran.answered()["status"], 403, "{ran:?}");
    assert!(world.origin.seen_at("/hop").is_empty());
}
