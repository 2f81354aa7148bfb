//! What a pack may try to get past the admin, or on his nerves.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, eventually};
use serde_json::{Value, json};

const COMPONENTS: [&str; 8] = [
    "leaves", "revoked", "bound", "floods", "varies", "quiet", "steers", "changes",
];

fn start() -> Broker {
    let home = Home::new();
    home.configure(|config| {
        config["approvals"] = json!({"timeout_ms": 20_000, "waiting": 3, "per_minute": 10});
    });
    home.write_pack(
        "patient",
        "def run(args):\n    return {'ok': True, 'data': 1}\n",
    );
    let mut manifest = Home::manifest("patient");
    let one = manifest["components"][0].clone();
    let all = COMPONENTS.iter().map(|name| {
        let mut component = one.clone();
        component["id"] = json!(component_id(name));
        component
    });
    manifest["components"] = all.collect();
    home.write_manifest("patient", &manifest);
    for name in COMPONENTS {
        home.grant(&component_id(name), &granted(&home));
    }
    let broker = Broker::start_with(home, &[("ONE", "1"), ("TWO", "2")]);
    broker.up(&["patient"]);
    broker
}

fn shared() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(start)
}

fn component_id(name: &str) -> String {
    format!("patient:tool:{name}")
}

fn granted(home: &Home) -> Value {
    let directory = home.data("in");
    let files = json!({"enabled": true, "ask": true, "directories": [directory]});
    json!({
        "file_read": files, "file_write": files,
        "env_read": {"enabled": true, "ask": true, "allowed_keys": ["ONE", "TWO"]},
        "terminal": {
            "enabled": true, "ask": true, "directories": [directory], "allowed_commands": ["cat"],
        },
        "network": {
            "enabled": true, "ask": true, "allowed_domains": [], "tcp": ["granted.test:5432"],
        },
    })
}

fn at(broker: &Broker, name: &str) -> String {
    let path = broker.home().base().join("data/in").join(name);
    path.to_str().unwrap().trim_end_matches('/').to_owned()
}

fn decisions(broker: &Broker, component: &str) -> Vec<Value> {
    let of = |r: &Value| r["component"] == component && r["phase"] == "decision";
    broker.audit().into_iter().filter(of).collect()
}

fn post(method: &str, message: &Value) -> String {
    let body = message.to_string();
    format!(
        "POST /rumi.v1.Capabilities/{method} HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_request_that_is_withdrawn_goes_away_and_is_recorded_as_refused() {
    let (broker, me) = (shared(), component_id("leaves"));
    let peer = broker.as_component(&me);
    let target = at(broker, "withdrawn");
    let write = post("FileWrite", &json!({"path": target, "data": "bmV3"}));
    let run = post(
        "TerminalRun",
        &json!({"argv": ["cat"], "directory": at(broker, "")}),
    );
    let connect = "CONNECT granted.test:5432 HTTP/1.1\r\nHost: granted.test\r\n\r\n".to_owned();
    let read = post("EnvRead", &json!({"key": "ONE"}));
    let list = post("FileList", &json!({"path": at(broker, "")}));
    for (count, request) in [read, write, run, connect, list].iter().enumerate() {
        let mut stream = peer.connect().unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
        drop(stream);
        eventually("it goes away", || broker.waiting(&me).is_empty());
        let late = broker.packctl(&["pending", "allow", &id]).exits(1);
        assert!(
            late.stderr.contains("was withdrawn"),
            "{request}: {}",
            late.stderr
        );
        eventually("it is recorded", || {
            decisions(broker, &me).len() == count + 1
        });
    }
    for decision in decisions(broker, &me) {
        assert_eq!(decision["decision"], "deny");
        assert_eq!(decision["reason"], "approval_timeout");
        assert!(
            decision["detail"]["why"]
                .as_str()
                .unwrap()
                .contains("went away")
        );
    }
    assert!(!fs::exists(target).unwrap());
}

#[test]
fn what_is_revoked_while_it_waits_is_refused_at_once_whatever_the_admin_says() {
    let (broker, me) = (shared(), component_id("revoked"));
    let peer = broker.as_component(&me);
    let asking = peer.asks("EnvRead", &json!({"key": "ONE"}));
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    broker.ungrant(&me);
    let started = Instant::now();
    assert_eq!(asking.join().unwrap().reason(), "no_grant");
    rumi_tests::in_time(started, Duration::from_secs(1));
    let late = broker.packctl(&["pending", "allow", &id]).exits(1);
    assert!(
        late.stderr.contains("no longer allows it"),
        "{}",
        late.stderr
    );
    assert!(
        decisions(broker, &me)
            .iter()
            .all(|one| one["decision"] == "deny")
    );
}

#[test]
fn an_approval_does_not_outlast_a_change_of_what_would_happen() {
    let (broker, me) = (shared(), component_id("changes"));
    let peer = broker.as_component(&me);
    let message = json!({"argv": ["cat"], "directory": at(broker, "")});
    let asking = peer.asks("TerminalRun", &message);
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    // The command would see a variable now that the admin was not shown.
    let mut permissions = granted(broker.home());
    permissions["terminal"]["env"] = json!({"TOKEN": "other"});
    broker.grant(&me, &permissions);
    broker.must(&["pending", "allow", &id]);
    assert_eq!(asking.join().unwrap().reason(), "approval_refused");
    assert!(
        decisions(broker, &me)
            .iter()
            .all(|one| one["decision"] == "deny")
    );
}

#[test]
fn an_answer_is_for_the_request_that_was_shown_and_for_no_other() {
    let (broker, me) = (shared(), component_id("bound"));
    let peer = broker.as_component(&me);
    let write = |name: &str, data: &str| {
        peer.asks(
            "FileWrite",
            &json!({"path": at(broker, name), "data": data}),
        )
    };
    let good = write("good", "Z29vZA==");
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    let bad = write("bad", "YmFk");
    eventually("both wait", || broker.waiting(&me).len() == 2);
    broker.must(&["pending", "allow", &id, "--always"]);
    good.join().unwrap().ok();
    assert_eq!(fs::read(at(broker, "good")).unwrap(), b"good");
    let left = broker.question(&me);
    assert_eq!(
        left["request"],
        format!("write {} 3 bytes", at(broker, "bad"))
    );
    assert!(!bad.is_finished() && !fs::exists(at(broker, "bad")).unwrap());
    // The same name, and more in it than was said.
    let more = write("good", "bW9yZS4u");
    eventually("it is asked about", || broker.waiting(&me).len() == 2);
    for one in broker.waiting(&me) {
        broker.must(&["pending", "deny", one["id"].as_str().unwrap()]);
    }
    assert_eq!(bad.join().unwrap().reason(), "approval_refused");
    assert_eq!(more.join().unwrap().reason(), "approval_refused");
    assert_eq!(fs::read(at(broker, "good")).unwrap(), b"good");
    assert_eq!(write("good", "Z29vZA==").join().unwrap().ok()["size"], "4");
}

#[test]
fn a_flood_of_asking_requests_is_refused_at_once_and_its_neighbour_is_served() {
    let (broker, me) = (shared(), component_id("floods"));
    let peer = broker.as_component(&me);
    let first: Vec<_> = (0..3)
        .map(|_| peer.asks("EnvRead", &json!({"key": "ONE"})))
        .collect();
    eventually("as many wait as may", || broker.waiting(&me).len() == 3);
    let started = Instant::now();
    for _ in 0..200 {
        let reply = peer.json("EnvRead", &json!({"key": "ONE"}));
        assert_eq!(reply.reason(), "approval_refused");
    }
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(broker.waiting(&me).len(), 3);
    let neighbour = component_id("quiet");
    let asking = broker
        .as_component(&neighbour)
        .asks("EnvRead", &json!({"key": "ONE"}));
    let id = broker.question(&neighbour)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    broker.must(&["pending", "allow", &id]);
    asking.join().unwrap().ok();
    let ids: Vec<Value> = broker
        .waiting(&me)
        .into_iter()
        .map(|one| one["id"].clone())
        .collect();
    let ids = ids.iter().map(|id| id.as_str().unwrap());
    broker.must(
        &["pending", "deny"]
            .into_iter()
            .chain(ids)
            .collect::<Vec<_>>(),
    );
    for one in first {
        assert_eq!(one.join().unwrap().reason(), "approval_refused");
    }
    assert_eq!(decisions(broker, &me).len(), 203, "none is left out");
}

#[test]
fn who_varies_his_request_has_the_admin_asked_so_often_a_minute_and_no_more() {
    let (broker, me) = (shared(), component_id("varies"));
    let peer = broker.as_component(&me);
    let mut asked = 0;
    let started = Instant::now();
    for number in 0..30 {
        let message = json!({"path": at(broker, &format!("no-{number}"))});
        let asking = peer.asks("FileStat", &message);
        eventually("it waits or is refused", || {
            asking.is_finished() || !broker.waiting(&me).is_empty()
        });
        if let Some(one) = broker.waiting(&me).first() {
            asked += 1;
            broker.must(&["pending", "deny", one["id"].as_str().unwrap()]);
        }
        assert_eq!(asking.join().unwrap().reason(), "approval_refused");
    }
    assert!(
        started.elapsed() < Duration::from_secs(55),
        "too slow to tell"
    );
    assert_eq!(asked, 10);
}

#[test]
fn no_request_steers_the_terminal_of_the_admin_or_looks_like_another() {
    let (broker, me) = (shared(), component_id("steers"));
    let peer = broker.as_component(&me);
    let nasty = "\u{1b}[2J\u{202e}\r\n'pl\u{430}in";
    let asking = peer.asks("FileStat", &json!({"path": at(broker, nasty)}));
    let question = broker.question(&me);
    let line = question["request"].as_str().unwrap();
    assert!(
        line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
        "{line}"
    );
    assert!(
        line.ends_with(r"/\u{1b}[2J\u{202e}\r\n\'pl\u{430}in'"),
        "{line}"
    );
    for shown in [
        broker.must(&["pending"]),
        broker.must(&["pending", "ls", "--json"]),
    ] {
        let fits = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic();
        assert!(shown.text().chars().all(fits), "{}", shown.text());
    }
    let said = broker.must(&["pending", "deny", question["id"].as_str().unwrap()]);
    assert!(!said.text().contains('\u{1b}'));
    assert_eq!(asking.join().unwrap().reason(), "approval_refused");
    // What nobody can read before he answers is not put before him.
    let long = vec!["x".repeat(1000); 100];
    let argv: Vec<&str> = std::iter::once("cat")
        .chain(long.iter().map(String::as_str))
        .collect();
    let message = json!({"argv": argv, "directory": at(broker, "")});
    assert_eq!(
        peer.json("TerminalRun", &message).reason(),
        "approval_refused"
    );
    // What a grant cannot keep is allowed once.
    let message = json!({"argv": &argv[..30], "directory": at(broker, "")});
    let asking = peer.asks("TerminalRun", &message);
    let question = broker.question(&me);
    let id = question["id"].as_str().unwrap();
    assert_eq!(question["may_be_kept"], false);
    let said = broker
        .packctl(&["pending", "allow", id, "--always"])
        .exits(1);
    assert!(
        said.stderr.contains("cannot be allowed always"),
        "{}",
        said.stderr
    );
    broker.must(&["pending", "allow", id]);
    asking.join().unwrap().ok();
}

#[test]
fn a_broker_that_dies_leaves_nothing_allowed_and_no_answer_for_the_next() {
    let mut broker = start();
    let me = component_id("quiet");
    let peer = broker.as_component(&me);
    let write = post(
        "FileWrite",
        &json!({"path": at(&broker, "left"), "data": "bmV3"}),
    );
    let mut stream = peer.connect().unwrap();
    stream.write_all(write.as_bytes()).unwrap();
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    broker.restart();
    let mut reply = Vec::new();
    assert!(!matches!(stream.read_to_end(&mut reply), Ok(read) if read > 0));
    assert_eq!(broker.waiting(&me), [] as [Value; 0]);
    broker.packctl(&["pending", "allow", &id]).exits(4);
    assert!(
        decisions(&broker, &me)
            .iter()
            .all(|one| one["decision"] == "deny")
    );
    assert!(!fs::exists(at(&broker, "left")).unwrap());
    broker.verify().ok();
}
