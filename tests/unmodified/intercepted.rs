//! Hosts whose TLS the broker ends, where the admin asks for it: the programs trust the component's bundle by the variables
//! that each of them knows, rules of methods and paths hold for them, and a secret is added that they never see.

use serde_json::{Value, json};

use crate::{
    sites::repository,
    world::{Ran, World, world},
};

const SITE: &str = "https://www.example.test";
/// Only the server that tells what it was sent can bring it into a container.
const VALUE: &str = "canary-5b1e0d77";

/// Two sites are intercepted; of the third nothing may be seen, and so it cannot be opened under such rules.
fn granted(world: &World, component: &str) {
    let hosts = ["www.example.test", "git.example.test"];
    world.secret("SHOP", VALUE);
    world.grant(
        component,
        &json!({"network": {
            "enabled": true,
            "allowed_domains": ["www.example.test", "git.example.test", "other.example.test"],
            "methods": ["GET", "POST"],
            "paths": ["/hello", "/headers", "/git/**"],
            "intercept": hosts,
            "inject": {"www.example.test": {"X-Shop": "Token ${secret:SHOP}"}},
        }}),
    );
}

fn command(world: &World, component: &str, argv: &[&str]) -> Ran {
    world.run(component, "command", &json!({ "argv": argv }))
}

/// What the server says that it was sent.
fn has_secret(headers: &Value) -> bool {
    headers["x-shop"] == json!(format!("Token {VALUE}"))
}

#[test]
fn curl_and_git_trust_what_the_broker_shows_them_and_keep_to_the_rules() {
    let world = world();
    world.pack("tools");
    repository(world);
    let component = "tools:tool:intercepted";
    granted(world, component);
    let page = format!("{SITE}/headers");
    let ran = command(
        world,
        component,
        &["curl", "--silent", "--show-error", &page],
    );
    let stdout = ran.answered()["stdout"].as_str().unwrap();
    let headers = serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert!(has_secret(&headers), "{ran:?}");
    let other = format!("{SITE}/other");
    let refused = ["curl", "--silent", "--include", &other];
    let ran = command(world, component, &refused);
    let said = ran.answered()["stdout"].as_str().unwrap();
    assert!(
        said.contains("HTTP/1.1 403 ") && said.contains("rumi-reason: path_not_allowed"),
        "{said}"
    );
    ran.denied("path_not_allowed", "www.example.test");
    let ran = command(
        world,
        component,
        &["curl", "--silent", "https://other.example.test/hello"],
    );
    assert_ne!(
        ran.answered()["code"],
        0,
        "no rule could hold there: {ran:?}"
    );
    let clone = "git clone --quiet https://git.example.test/git/notes.git && cat notes/plan.md";
    let ran = command(world, component, &["sh", "-c", clone]);
    assert_eq!(
        (&ran.answered()["code"], &ran.answer["stdout"]),
        (&json!(0), &json!("# Plan\n")),
        "{ran:?}"
    );
    assert_eq!(world.origin.seen_at("/other").len(), 0);
}

#[test]
fn requests_trusts_it_too() {
    let world = world();
    world.pack("requests");
    let component = "requests:tool:intercepted";
    granted(world, component);
    let ran = world.run(
        component,
        "fetch",
        &json!({"url": format!("{SITE}/headers")}),
    );
    let headers = ran.answered()["text"].as_str().unwrap();
    assert!(
        has_secret(&serde_json::from_str(headers).unwrap()),
        "{ran:?}"
    );
    let put = json!({"url": format!("{SITE}/hello"), "method": "PUT", "data": "x"});
    let ran = world.run(component, "fetch", &put);
    assert_eq!(ran.answered()["status"], 403, "{ran:?}");
    ran.denied("method_not_allowed", "www.example.test");
}

#[test]
fn so_does_node_by_way_of_a_granted_name() {
    let world = world();
    world.pack("node");
    let component = "node:tool:intercepted";
    granted(world, component);
    let ran = world.run(
        component,
        "fetch",
        &json!({"url": format!("{SITE}/headers")}),
    );
    assert_eq!(ran.answered()["exit"], 0, "{ran:?}");
    let headers = ran.answer["text"].as_str().unwrap();
    assert!(
        has_secret(&serde_json::from_str(headers).unwrap()),
        "{ran:?}"
    );
    let ran = world.run(component, "fetch", &json!({"url": format!("{SITE}/other")}));
    assert_eq!(ran.answered()["status"], 403, "{ran:?}");
    ran.denied("path_not_allowed", "www.example.test");
}
