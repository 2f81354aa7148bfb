//! TLS that the broker ends: what a grant says of requests holds for unmodified clients too.

use std::{
    fs,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use rumi_tests::{Authority, Broker, Home, NameServer, Origin, eventually, other_address};
use serde_json::{Value, json};

const SEEN: &str = "icpt:tool:seen";
const BLIND: &str = "icpt:tool:blind";
const VALUE: &str = "canary-0c7be93d51aa";

/// An unmodified client: nothing in it knows of rumi. `trusted` is a bundle that it read some time ago.
const CLIENT: &str = r#"
import http.client, json, os, ssl, urllib.error, urllib.parse, urllib.request

def run(args):
    if args.get("bundle"):
        return {"bundle": open(os.environ["SSL_CERT_FILE"]).read()}
    context = ssl.create_default_context(cadata=args.get("trusted"))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    headers = {"Authorization": "Bearer mine", "User-Agent": "plain"}
    request = urllib.request.Request(args["url"], method=args.get("method", "GET"), headers=headers)
    try:
        with opener.open(request, timeout=10) as reply:
            return {"status": reply.status, "body": reply.read().decode("latin-1")}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "reason": error.headers.get("rumi-reason"), "body": error.read().decode()}
    except (OSError, http.client.HTTPException) as error:
        return {"error": repr(error)}
"#;

struct World {
    broker: Broker,
    origin: Origin,
    _names: NameServer,
}

fn make() -> World {
    let home = Home::new();
    let own = other_address(false);
    let authority = Authority::new();
    let files = home.data("site");
    let origin = Origin::start(own, &authority, &["api.test", "twin.test"], &files);
    let here = own.to_string();
    let names = NameServer::start(&[
        ("api.test", &[&here]),
        ("twin.test", &[&here]),
        // Its certificate is for other names.
        ("wrong.test", &[&here]),
    ]);
    home.configure(|config| {
        config["network"]["allowed_ranges"] = json!([format!("{own}/32")]);
        config["network"]["resolvers"] = json!([names.address()]);
    });
    home.write_pack("icpt", CLIENT);
    let mut manifest = Home::manifest("icpt");
    let one = manifest["components"][0].clone();
    let components = [SEEN, BLIND].map(|id| {
        let mut component = one.clone();
        component["id"] = json!(id);
        component
    });
    manifest["components"] = json!(components);
    home.write_manifest("icpt", &manifest);
    home.grant(SEEN, &seen(&["api.test", "wrong.test"]));
    let domains = json!({"enabled": true, "allowed_domains": ["api.test", "twin.test"]});
    home.grant(BLIND, &json!({ "network": domains }));
    let bundle = home.base().join("roots.pem");
    authority.write_bundle(&bundle);
    let broker = Broker::start_with(home, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
    broker.up(&["icpt"]);
    let set = ["secret", "set", "API_TOKEN"];
    broker.home().packctl_fed(&set, VALUE).ok();
    World {
        broker,
        origin,
        _names: names,
    }
}

/// What the component is granted, with these hosts intercepted.
fn seen(intercept: &[&str]) -> Value {
    json!({"network": {
        "enabled": true, "allowed_domains": ["api.test", "wrong.test", "twin.test"],
        "methods": ["GET"], "paths": ["/hello", "/headers", "/large/*"], "max_response_bytes": 100_000,
        "intercept": intercept,
        "inject": {"api.test": {"Authorization": "Bearer ${secret:API_TOKEN}"}},
    }})
}

/// One test after another: they change the grant, and start the broker anew.
fn world() -> MutexGuard<'static, World> {
    static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(make()));
    WORLD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(broker: &Broker, component: &str, args: &Value) -> Value {
    broker.call(component, args).data().clone()
}

fn bundle(broker: &Broker, component: &str) -> String {
    let path = format!("packs/icpt/ca/{component}.pem");
    fs::read_to_string(broker.home().run().join(path)).unwrap()
}

#[test]
fn methods_paths_sizes_and_secrets_hold_for_a_plain_client() {
    let world = world();
    let ask = |url: &str| ask(&world.broker, SEEN, &json!({ "url": url }));
    let reply = ask("https://api.test/headers");
    assert_eq!(reply["status"], 200, "{reply}");
    let seen = &world.origin.seen_at("/headers")[0];
    let sent: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| name == "authorization")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(sent, [format!("Bearer {VALUE}")]);
    assert_eq!(seen.sni.as_deref(), Some("api.test"));
    for (reply, reason) in [
        (ask("https://api.test/secret"), "path_not_allowed"),
        (
            self::ask(
                &world.broker,
                SEEN,
                &json!({"url": "https://api.test/hello", "method": "DELETE"}),
            ),
            "method_not_allowed",
        ),
    ] {
        assert_eq!(
            (&reply["status"], &reply["reason"]),
            (&json!(403), &json!(reason)),
            "{reply}"
        );
    }
    assert_eq!(world.origin.seen_at("/secret").len(), 0);
    assert_eq!(ask("https://api.test/large/1000")["status"], 200);
    let large = ask("https://api.test/large/200000");
    assert_ne!(large["status"], 200, "{large}");
    // Not intercepted, and methods are narrowed: the tunnel itself is refused.
    let reply = ask("https://twin.test/hello");
    assert!(reply["error"].as_str().unwrap().contains("403"), "{reply}");
    let records = Value::from(world.broker.audit()).to_string();
    for part in [r#""form":"intercepted""#, r#""injected":["authorization"]"#] {
        assert!(records.contains(part), "{part}: {records}");
    }
    assert!(!records.contains("canary") && !world.broker.log().contains("canary"));
}

#[test]
fn the_broker_believes_its_own_roots_only() {
    let world = world();
    let reply = ask(
        &world.broker,
        SEEN,
        &json!({"url": "https://wrong.test/hello"}),
    );
    assert_eq!(reply["status"], 502, "{reply}");
    assert!(
        reply["body"].as_str().unwrap().contains("another host"),
        "{reply}"
    );
    assert!(
        world
            .origin
            .seen()
            .iter()
            .all(|one| one.host != "wrong.test")
    );
}

#[test]
fn only_the_component_itself_trusts_its_authority_and_others_are_not_looked_into() {
    let world = world();
    let count = |component| {
        bundle(&world.broker, component)
            .matches("BEGIN CERTIFICATE")
            .count()
    };
    assert_eq!(count(SEEN), count(BLIND) + 1);
    let told = ask(&world.broker, SEEN, &json!({"bundle": true}));
    assert!(told["bundle"].as_str().unwrap() == bundle(&world.broker, SEEN));
    let reply = ask(
        &world.broker,
        BLIND,
        &json!({"url": "https://api.test/hello?blind"}),
    );
    assert_eq!(reply["status"], 200, "{reply}");
    let seen = &world.origin.seen_at("/hello?blind")[0];
    let own = ("authorization".to_owned(), "Bearer mine".to_owned());
    assert!(seen.headers.contains(&own), "{seen:?}");
    let state = world.broker.home().state().join("authorities");
    let keys: Vec<_> = fs::read_dir(&state)
        .unwrap()
        .map(|key| key.unwrap().file_name())
        .collect();
    assert_eq!(keys, [format!("{SEEN}.key").as_str()]);
    for path in [state.join(&keys[0]), state] {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o077, 0);
    }
}

#[test]
fn programs_that_run_go_on_trusting_after_a_restart_and_stop_with_the_grant() {
    let mut world = world();
    let World { broker, origin, .. } = &mut *world;
    let asked = origin.seen_at("/hello").len();
    let before = bundle(broker, SEEN);
    let own = before.rfind("-----BEGIN").unwrap();
    // Nothing but the authority of before the restart.
    let trusted = &before[own..];
    let old = json!({"url": "https://api.test/hello", "trusted": trusted});
    assert_eq!(ask(broker, SEEN, &old)["status"], 200);
    broker.restart();
    eventually("the pack is adopted", || {
        broker
            .ps()
            .iter()
            .any(|pack| pack.components.iter().all(|one| one.worker_attached))
    });
    assert_eq!(ask(broker, SEEN, &old)["status"], 200);
    assert_eq!(origin.seen_at("/hello").len(), asked + 2);

    broker.home().grant(SEEN, &seen(&["wrong.test"]));
    eventually("the host is not intercepted any more", || {
        ask(broker, SEEN, &old)["error"]
            .as_str()
            .is_some_and(|error| error.contains("403"))
    });
    broker.home().grant(SEEN, &seen(&[]));
    eventually("the bundle holds the roots only", || {
        bundle(broker, SEEN) == bundle(broker, BLIND)
    });
    // Granted again, the key is the one that was trusted.
    broker.home().grant(SEEN, &seen(&["api.test"]));
    eventually("the host is intercepted again", || {
        ask(broker, SEEN, &old)["status"] == 200
    });
    let both = ["api.test", "wrong.test"];
    broker.home().grant(SEEN, &seen(&both));
    eventually("all is as it was", || {
        ask(broker, SEEN, &json!({"url": "https://wrong.test/hello"}))["status"] == 502
    });
}
