//! `aiohttp`, which knows no proxy unless it is told of one: names lead to the guest.

use serde_json::json;

use crate::{surroundings::sees_nothing_else, world::world};

#[test]
fn granted_pages_are_fetched_at_once_and_nothing_else_is_seen() {
    let world = world();
    world.pack("aiohttp");
    let component = "aiohttp:tool:granted";
    world.grant_hosts(component, &["www.example.test", "git.example.test"]);
    let urls = [
        "https://www.example.test/hello",
        "https://git.example.test/hello",
        "http://www.example.test/hello",
    ];
    let ran = sees_nothing_else(world, component, "fetch", &json!({"urls": urls}));
    let pages = ran.answered()["pages"].as_array().unwrap();
    assert_eq!(pages.len(), urls.len());
    for page in pages {
        assert_eq!(page["text"], "hello\n", "{ran:?}");
    }
    let page = json!({"url": "wss://www.example.test/ws", "messages": ["one", "two"]});
    let ran = world.run(component, "chat", &page);
    assert_eq!(ran.answered()["heard"], page["messages"]);
    let (out, _) = world.bytes(component, "www.example.test");
    assert!(
        out > 0,
        "{:#?}",
        world.records(component, "www.example.test")
    );
}

#[test]
fn a_name_that_was_not_granted_does_not_exist() {
    let world = world();
    world.pack("aiohttp");
    let component = "aiohttp:tool:refused";
    for (granted, reason) in [
        (None, "no_grant"),
        (Some("other.example.test"), "domain_not_allowed"),
    ] {
        if let Some(host) = granted {
            world.grant_hosts(component, &[host]);
        }
        let ran = world.run(
            component,
            "fetch",
            &json!({"urls": ["https://www.example.test/"]}),
        );
        let error = ran.raised_at_once();
        assert!(error.contains("ClientConnectorDNSError"), "{error}");
        ran.denied(reason, "www.example.test");
    }
}

#[test]
fn the_remedy_that_a_refusal_names_is_what_makes_it_work() {
    let world = world();
    world.pack("aiohttp");
    let component = "aiohttp:tool:remedied";
    let page = json!({"urls": ["https://www.example.test/hello"]});
    let ran = world.run(component, "fetch", &page);
    ran.raised_at_once();
    world.apply(ran.denied("no_grant", "www.example.test"));
    let ran = world.run(component, "fetch", &page);
    assert_eq!(ran.answered()["pages"][0]["text"], "hello\n");
}
