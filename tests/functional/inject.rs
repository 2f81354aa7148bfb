//! Headers with secrets that the pack never sees, in requests that the broker makes for it.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rumi_tests::{Authority, Broker, Home, NameServer, Origin, Peer, Reply, other_address};
use serde_json::{Value, json};

const ASKER: &str = "probe:tool:do";
const VALUE: &str = "canary-5a1e7c02d94b";

struct World {
    broker: Broker,
    origin: Origin,
    _names: NameServer,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let home = Home::new();
        let own = other_address(true);
        let authority = Authority::new();
        let files = home.data("site");
        let origin = Origin::start(own, &authority, &["api.test", "twin.test"], &files);
        let here = own.to_string();
        let names = NameServer::start(&[("api.test", &[&here]), ("twin.test", &[&here])]);
        home.configure(|config| {
            config["network"]["allowed_ranges"] = json!([format!("{own}/32")]);
            config["network"]["resolvers"] = json!([names.address()]);
        });
        home.grant(ASKER, &grant("${secret:API_TOKEN}"));
        let bundle = home.base().join("roots.pem");
        authority.write_bundle(&bundle);
        let broker = Broker::start_with(home, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
        broker.up(&["probe"]);
        World {
            broker,
            origin,
            _names: names,
        }
    })
}

fn grant(secret: &str) -> Value {
    json!({"network": {
        "enabled": true, "allowed_domains": ["api.test", "twin.test"], "allowed_ports": [443, 80],
        "inject": {
            "api.test": {"Authorization": format!("Bearer {secret}"), "X-Team": "blue"},
            "http://twin.test": {"X-Plain": "in the open"},
        },
    }})
}

fn fetch(peer: &Peer, url: &str, headers: &Value) -> Reply {
    peer.json(
        "NetworkFetch",
        &json!({"method": "GET", "url": url, "headers": headers}),
    )
}

fn text(reply: &Value) -> String {
    let body = reply["body"].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(body).unwrap()).unwrap()
}

/// One after another: the tests change the one secret.
fn in_turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn the_server_gets_the_secret_and_the_pack_does_not() {
    let _turn = in_turn();
    let world = world();
    let broker = &world.broker;
    let peer = broker.as_component(ASKER);
    let secret = |value: &str| {
        let set = ["secret", "set", "API_TOKEN"];
        broker.home().packctl_fed(&set, value).ok()
    };
    secret(VALUE);
    let own = json!([
        {"name": "authorization", "value": "Bearer mine"}, {"name": "Authorization", "value": "x"},
        {"name": "accept", "value": "application/json"},
    ]);
    let reply = fetch(&peer, "https://api.test/headers?first", &own).ok();
    let seen = &world.origin.seen_at("/headers?first")[0];
    let sent = |name: &str| {
        let values = seen.headers.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(sent("authorization"), [format!("Bearer {VALUE}")]);
    assert_eq!(sent("x-team"), ["blue"]);
    assert_eq!(sent("accept"), ["application/json"]);
    // This server repeats what it was sent.
    let body = text(&reply);
    assert!(body.contains("Bearer *******"), "{body}");
    assert!(!reply.to_string().contains(VALUE) && !body.contains(VALUE));

    // Changed while the pack runs: the next request has the new one.
    secret("canary-other");
    fetch(&peer, "https://api.test/hello?second", &json!([])).ok();
    let seen = &world.origin.seen_at("/hello?second")[0];
    let other = ("authorization".to_owned(), "Bearer canary-other".to_owned());
    assert!(seen.headers.contains(&other), "{seen:?}");

    // Nobody else gets it: not another host, and not one that is redirected to.
    fetch(&peer, "https://twin.test/hello?third", &json!([])).ok();
    let reply = fetch(
        &peer,
        "https://api.test/redirect?to=https://twin.test/hello",
        &json!([]),
    )
    .ok();
    assert_eq!(reply["status"], 302);
    fetch(&peer, "http://twin.test/hello?fourth", &json!([])).ok();
    let seen = world.origin.seen();
    let strangers: Vec<_> = seen.iter().filter(|one| one.host != "api.test").collect();
    assert_eq!(strangers.len(), 2, "{strangers:?}");
    for one in strangers {
        assert!(!format!("{one:?}").contains("canary"), "{one:?}");
        let plain = one.headers.iter().any(|(name, _)| name == "x-plain");
        assert_eq!(plain, one.sni.is_none(), "{one:?}");
    }
    let records = Value::from(broker.audit()).to_string();
    assert!(
        records.contains(r#""injected":["authorization","x-team"]"#),
        "{records}"
    );
    assert!(!records.contains("canary") && !broker.log().contains("canary"));
}

#[test]
fn a_secret_never_goes_in_the_open() {
    let _turn = in_turn();
    let world = world();
    let peer = world.broker.as_component(ASKER);
    let reply = fetch(&peer, "http://api.test/hello?open", &json!([]));
    assert_eq!(reply.status, 403);
    let said = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(said.contains("over https only"), "{said}");
    assert_eq!(world.origin.seen_at("/hello?open").len(), 0);
}

#[test]
fn without_its_secret_nothing_is_sent_and_only_the_admin_learns_its_name() {
    let _turn = in_turn();
    let world = world();
    let broker = &world.broker;
    let peer = broker.as_component(ASKER);
    broker
        .home()
        .packctl_fed(&["secret", "set", "API_TOKEN"], "x")
        .ok();
    broker.must(&["secret", "rm", "API_TOKEN"]);
    broker
        .home()
        .packctl_fed(
            &["secret", "set", "API_TOKEN", "--exact"],
            "canary\r\nX-Evil: yes",
        )
        .ok()
        .says(&["cannot stand in a header"]);
    for (path, remedy) in [
        ("/hello?unfit", "without line ends"),
        ("/hello?missing", "packctl secret set API_TOKEN"),
    ] {
        let reply = fetch(&peer, &format!("https://api.test{path}"), &json!([]));
        assert_ne!(reply.status, 200);
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(
            said.contains("an admin has the broker add a header"),
            "{said}"
        );
        assert!(
            !said.contains("API_TOKEN") && !said.contains("canary"),
            "{said}"
        );
        assert_eq!(world.origin.seen_at(path).len(), 0);
        let records = Value::from(broker.audit()).to_string();
        assert!(records.contains(remedy), "{path}: {records}");
        assert!(!records.contains("canary"), "{path}");
        if path == "/hello?unfit" {
            broker.must(&["secret", "rm", "API_TOKEN"]);
        }
    }
    broker.packctl(&["doctor"]).says(&[
        "uses the secret `API_TOKEN`, which has no value",
        "packctl secret set API_TOKEN",
    ]);
}
