//! Node's own `fetch`, which knows no proxy either.

use std::time::Duration;

use serde_json::json;

use crate::{
    surroundings::sees_nothing_else,
    world::{AT_ONCE, world},
};

#[test]
fn a_granted_page_is_fetched_and_nothing_else_is_seen() {
    let world = world();
    world.pack("node");
    let component = "node:tool:granted";
    world.grant_hosts(component, &["www.example.test"]);
    for scheme in ["https", "http"] {
        let page = json!({"url": format!("{scheme}://www.example.test/hello")});
        let ran = sees_nothing_else(world, component, "fetch", &page);
        assert_eq!(
            (&ran.answered()["exit"], &ran.answer["text"]),
            (&json!(0), &json!("hello\n")),
            "{ran:?}"
        );
    }
}

#[test]
fn a_name_that_was_not_granted_does_not_exist() {
    let world = world();
    world.pack("node");
    let component = "node:tool:refused";
    let ran = world.run(
        component,
        "fetch",
        &json!({"url": "https://www.example.test/hello"}),
    );
    let answer = ran.answered();
    assert_eq!(
        (&answer["error"], &answer["code"]),
        (&json!("fetch failed"), &json!("ENOTFOUND"))
    );
    // Node itself takes a while to start.
    let took = answer["milliseconds"].as_f64().unwrap();
    assert!(Duration::from_secs_f64(took / 1000.0) < AT_ONCE, "{ran:?}");
    ran.denied("no_grant", "www.example.test");
}
