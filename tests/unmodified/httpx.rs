//! `httpx` and `websockets`, which take the proxy from their environment.

use serde_json::json;

use crate::{surroundings::sees_nothing_else, world::world};

#[test]
fn a_granted_page_is_fetched_and_nothing_else_is_seen() {
    let world = world();
    world.pack("httpx");
    let component = "httpx:tool:granted";
    world.grant_hosts(component, &["www.example.test"]);
    for scheme in ["https", "http"] {
        let page = json!({"url": format!("{scheme}://www.example.test/hello")});
        let ran = sees_nothing_else(world, component, "fetch", &page);
        assert_eq!(ran.answered()["text"], "hello\n", "{ran:?}");
    }
}

#[test]
fn a_websocket_talks_through_a_tunnel() {
    let world = world();
    world.pack("httpx");
    let component = "httpx:tool:granted";
    world.grant_hosts(component, &["www.example.test"]);
    let long = "long ".repeat(30_000);
    let page = json!({"url": "wss://www.example.test/ws", "messages": ["one", long, ""]});
    let ran = world.run(component, "chat", &page);
    assert_eq!(ran.answered()["heard"], page["messages"]);
}

#[test]
fn what_was_not_granted_is_a_403_at_once() {
    let world = world();
    world.pack("httpx");
    let component = "httpx:tool:refused";
    let ran = world.run(
        component,
        "fetch",
        &json!({"url": "https://www.example.test/"}),
    );
    assert!(ran.raised_at_once().contains("403"), "{ran:?}");
    ran.denied("no_grant", "www.example.test");
    let page = json!({"url": "wss://www.example.test/ws", "messages": ["one"]});
    let ran = world.run(component, "chat", &page);
    assert!(ran.raised_at_once().contains("403"), "{ran:?}");
}
