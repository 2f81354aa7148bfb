//! `"ask": true`: requests that wait for the admin, and what he says.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, NameServer, Reply, WebServer, binary, eventually, write_snippets};
use serde_json::{Value, json};

/// How long a request waits here.
const PATIENCE: Duration = Duration::from_secs(6);

const COMPONENTS: [&str; 10] = [
    "allowed", "denied", "late", "always", "watched", "lines", "tunnels", "opens", "killed",
    "twice",
];

struct Desk {
    broker: Broker,
    web: WebServer,
    _names: NameServer,
}

fn desk() -> &'static Desk {
    static DESK: OnceLock<Desk> = OnceLock::new();
    DESK.get_or_init(|| {
        let home = Home::new();
        let web = WebServer::start("127.0.0.1");
        let names = NameServer::start(&[("granted.test", &["127.0.0.1"])]);
        home.configure(|config| {
            config["approvals"] = json!({"timeout_ms": PATIENCE.as_millis() as u64});
            config["network"]["allowed_ranges"] = json!(["127.0.0.1/32"]);
            config["network"]["resolvers"] = json!([names.address()]);
        });
        write_snippets(&home, "patient", &COMPONENTS);
        let data = home.data("in");
        home.file("in/plain", "plain");
        home.file("in/other", "other");
        let files = json!({"enabled": true, "ask": true, "directories": [data]});
        let all = json!({
            "file_read": files, "file_write": files,
            "env_read": {"enabled": true, "ask": true, "allowed_keys": ["ONE", "TWO"]},
            "terminal": {
                "enabled": true, "ask": true, "directories": [data], "allowed_commands": ["cat"],
                "env": {"PLAIN": "text"},
            },
            "network": {
                "enabled": true, "ask": true, "allowed_ports": [web.port()],
                "allowed_domains": ["granted.test"],
                "tcp": [format!("granted.test:{}", web.port())],
            },
        });
        for name in COMPONENTS {
            home.grant(&component(name), &all);
        }
        let broker = Broker::start_with(home, &[("ONE", "1"), ("TWO", "2")]);
        broker.up(&["patient"]);
        Desk {
            broker,
            web,
            _names: names,
        }
    })
}

fn component(name: &str) -> String {
    format!("patient:tool:{name}")
}

fn at(name: &str) -> String {
    let path = desk().broker.home().base().join("data/in").join(name);
    path.to_str().unwrap().trim_end_matches('/').to_owned()
}

fn record(reply: &Reply) -> String {
    reply.record()
}

#[test]
fn an_allowed_request_goes_on_and_its_record_says_who_allowed_it() {
    let (broker, me) = (&desk().broker, component("allowed"));
    let asking = broker
        .as_component(&me)
        .asks("EnvRead", &json!({"key": "ONE"}));
    let question = broker.question(&me);
    assert_eq!(question["request"], "read ONE");
    assert_eq!(question["permission"], "env_read");
    assert_eq!(question["may_be_kept"], true);
    let of_mine = |phase: &str| -> Vec<Value> {
        let mine = |r: &Value| r["component"] == me.as_str() && r["phase"] == phase;
        broker.audit().into_iter().filter(mine).collect()
    };
    assert_eq!(
        of_mine("decision"),
        [] as [Value; 0],
        "nothing is allowed yet"
    );
    assert!(!asking.is_finished());
    let id = question["id"].as_str().unwrap();
    let said = broker.must(&["pending", "allow", id]);
    assert!(said.stderr.contains("read ONE"), "{}", said.text());
    assert_eq!(asking.join().unwrap().ok()["values"]["ONE"], "1");
    let decision = &of_mine("decision")[0];
    assert_eq!(decision["decision"], "allow");
    let approval = &decision["detail"]["approval"];
    assert_eq!(approval["id"], id);
    assert_eq!(approval["by"]["uid"], 0);
    assert!(approval["at_unix_ms"].as_u64() >= question["since_unix_ms"].as_u64());
    let answer = &of_mine("admin")[0];
    assert_eq!(
        (&answer["action"], &answer["target"]),
        (&json!("pending_allow"), &json!(id))
    );
    assert_eq!(answer["detail"]["request"], approval["request"]);
    assert!(
        !decision.to_string().contains("read ONE"),
        "no line is in the log"
    );
    // Once is once.
    let again = broker
        .as_component(&me)
        .asks("EnvRead", &json!({"key": "ONE"}));
    let next = broker.question(&me);
    assert_ne!(next["id"], question["id"]);
    broker.must(&["pending", "deny", next["id"].as_str().unwrap()]);
    assert_eq!(again.join().unwrap().reason(), "approval_refused");
    broker.verify().ok();
}

#[test]
fn a_denied_request_is_refused_and_cannot_be_answered_again() {
    let (broker, me) = (&desk().broker, component("denied"));
    let asking = broker
        .as_component(&me)
        .asks("FileRead", &json!({"path": at("plain")}));
    let question = broker.question(&me);
    let id = question["id"].as_str().unwrap();
    broker.must(&["pending", "deny", id]);
    let reply = asking.join().unwrap();
    assert_eq!(reply.reason(), "approval_refused");
    let records = broker.records_of(&record(&reply));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["decision"], "deny");
    assert_eq!(records[0]["detail"]["approval"]["by"]["uid"], 0);
    for again in [["pending", "allow", id], ["pending", "deny", id]] {
        let said = broker.packctl(&again).exits(1);
        assert!(
            said.stderr.contains("was denied already, by uid 0"),
            "{}",
            said.stderr
        );
    }
    let unknown = broker.packctl(&["pending", "allow", "\u{1b}[2Jx"]).exits(4);
    assert!(
        unknown.stderr.contains("no request waits"),
        "{}",
        unknown.stderr
    );
    assert!(
        unknown.stderr.contains("packctl pending"),
        "{}",
        unknown.stderr
    );
    broker.packctl(&["pending", "allow"]).exits(2);
    broker.packctl(&["pending", "deny"]).exits(2);
    broker.packctl(&["pending", "approve", "x"]).exits(2);
    broker
        .packctl(&["-o", "json", "pending", "--watch"])
        .exits(2);
}

#[test]
fn without_an_answer_a_request_is_refused_in_time() {
    let (broker, me) = (&desk().broker, component("late"));
    let started = Instant::now();
    let asking = broker
        .as_component(&me)
        .asks("EnvRead", &json!({"key": "TWO"}));
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    let reply = asking.join().unwrap();
    let took = started.elapsed();
    assert_eq!(reply.reason(), "approval_timeout");
    assert!(took >= PATIENCE && took < PATIENCE * 2, "{took:?}");
    assert_eq!(broker.waiting(&me), [] as [Value; 0]);
    let late = broker.packctl(&["pending", "allow", &id]).exits(1);
    assert!(
        late.stderr.contains("was not answered in time"),
        "{}",
        late.stderr
    );
    let records = broker.records_of(&record(&reply));
    assert_eq!(records[0]["reason"], "approval_timeout");
}

#[test]
fn what_is_allowed_always_is_not_asked_about_again_and_its_sibling_is() {
    let (broker, me) = (&desk().broker, component("always"));
    let peer = broker.as_component(&me);
    let asking = peer.asks("FileRead", &json!({"path": at("plain")}));
    let question = broker.question(&me);
    let said = broker.must(&[
        "pending",
        "allow",
        question["id"].as_str().unwrap(),
        "--always",
    ]);
    assert!(said.stdout.contains("always"), "{}", said.text());
    assert_eq!(asking.join().unwrap().bytes("data"), b"plain");
    let grant: Value =
        serde_json::from_slice(&fs::read(broker.home().grant_file(&me)).unwrap()).unwrap();
    let kept = &grant["permissions"]["file_read"]["always"];
    assert_eq!(*kept, json!([format!("read {}", at("plain"))]));
    // In force when packctl has returned.
    let reply = peer.json("FileRead", &json!({"path": at("plain")}));
    assert_eq!(reply.bytes("data"), b"plain");
    for sibling in [
        json!({"path": at("other")}),
        json!({"path": at("plain"), "offset": 1}),
        json!({"path": at("plain"), "length": 1}),
    ] {
        let asking = peer.asks("FileRead", &sibling);
        let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
        broker.must(&["pending", "deny", &id]);
        assert_eq!(
            asking.join().unwrap().reason(),
            "approval_refused",
            "{sibling}"
        );
    }
    let asking = peer.asks("FileStat", &json!({"path": at("plain")}));
    let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
    broker.must(&["pending", "deny", &id]);
    assert_eq!(asking.join().unwrap().reason(), "approval_refused");
}

#[test]
fn of_two_requests_that_are_alike_each_has_its_own_answer() {
    let (broker, me) = (&desk().broker, component("twice"));
    let peer = broker.as_component(&me);
    let asking = [(); 2].map(|()| peer.asks("EnvRead", &json!({"key": "ONE"})));
    eventually("both wait", || broker.waiting(&me).len() == 2);
    let ids = broker
        .waiting(&me)
        .into_iter()
        .map(|one| one["id"].as_str().unwrap().to_owned());
    let ids: Vec<String> = ids.collect();
    broker.must(&["pending", "allow", &ids[0]]);
    assert_eq!(broker.question(&me)["id"], ids[1].as_str());
    let nonsense = broker.packctl(&["pending", "deny", "nonsense", &ids[1]]);
    assert_eq!(nonsense.code, 4, "{}", nonsense.text());
    let mut said = asking.map(|one| one.join().unwrap().status);
    said.sort_unstable();
    assert_eq!(said, [200, 403]);
}

#[test]
fn new_requests_are_shown_as_they_come() {
    let (broker, me) = (&desk().broker, component("watched"));
    let mut command = Command::new(binary("packctl"));
    let watching = broker.home().placed(&mut command);
    watching
        .args(["pending", "--watch", "--json"])
        .stdout(Stdio::piped());
    let mut watching = watching.spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || loop {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["component"] == me.as_str() {
            return line;
        }
    };
    for key in ["ONE", "TWO"] {
        let asking = broker
            .as_component(&me)
            .asks("EnvRead", &json!({"key": key}));
        let shown = next();
        assert_eq!(shown["request"], format!("read {key}"));
        broker.must(&["pending", "allow", shown["id"].as_str().unwrap()]);
        assert_eq!(
            asking.join().unwrap().ok()["values"][key]
                .as_str()
                .unwrap()
                .len(),
            1
        );
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn the_admin_sees_the_whole_of_each_request() {
    let desk = desk();
    let (broker, me) = (&desk.broker, component("lines"));
    let peer = broker.as_component(&me);
    let url = format!("http://granted.test:{}/hello?token=1", desk.web.port());
    for (method, message, expected) in [
        (
            "FileList",
            json!({"path": at("")}),
            format!("list {}", at("")),
        ),
        (
            "FileWrite",
            json!({"path": at("new"), "data": "bmV3"}),
            format!("write {} 3 bytes", at("new")),
        ),
        (
            "FileRename",
            json!({"from": at("new"), "to": at("newer")}),
            format!("rename {} to {}", at("new"), at("newer")),
        ),
        (
            "TerminalRun",
            json!({"argv": ["cat", "/it's"], "directory": at("")}),
            format!(r"run in {} with PLAIN -- cat '/it\'s'", at("")),
        ),
        (
            "NetworkFetch",
            json!({"method": "GET", "url": url}),
            format!("fetch GET {url}"),
        ),
    ] {
        let asking = peer.asks(method, &message);
        let question = broker.question(&me);
        assert_eq!(
            question["request"],
            expected.trim_end_matches('/'),
            "{method}"
        );
        assert!(!asking.is_finished());
        broker.must(&["pending", "allow", question["id"].as_str().unwrap()]);
        asking.join().unwrap().ok();
    }
    let table = broker.must(&["pending"]);
    assert!(!table.text().contains('\u{1b}'), "{}", table.text());
}

#[test]
fn a_tunnel_waits_for_the_answer() {
    let desk = desk();
    let (broker, me) = (&desk.broker, component("tunnels"));
    let peer = broker.as_component(&me);
    let authority = format!("granted.test:{}", desk.web.port());
    // A question about the component's own grant is none for the admin.
    assert_eq!(
        peer.json("NetworkResolve", &json!({"host": "granted.test"}))
            .status,
        200
    );
    for allow in [true, false] {
        let mut stream = peer.connect().unwrap();
        write!(
            stream,
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        )
        .unwrap();
        let question = broker.question(&me);
        assert_eq!(question["request"], format!("connect {authority} as tcp"));
        let verb = if allow { "allow" } else { "deny" };
        broker.must(&["pending", verb, question["id"].as_str().unwrap()]);
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        let expected = if allow {
            "HTTP/1.1 200"
        } else {
            "HTTP/1.1 403"
        };
        assert_eq!(std::str::from_utf8(&head).unwrap(), expected);
    }
}

#[test]
fn an_opening_below_files_waits_and_holds_up_nobody_else() {
    let (broker, me) = (&desk().broker, component("opens"));
    let path = format!("/files{}", at("plain"));
    let code = "import threading, time, os\n\
        seen = []\n\
        def look():\n\
        \x20while not done:\n\
        \x20 began = time.monotonic(); os.stat(args['path']); seen.append(time.monotonic() - began); time.sleep(0.01)\n\
        done = []\n\
        looking = threading.Thread(target=look); looking.start()\n\
        out = [open(args['path']).read()]\n\
        done.append(1); looking.join()\n\
        out += [len(seen), max(seen)]\n";
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| broker.run_python(&me, code, &json!({"path": path})));
        let question = broker.question(&me);
        assert_eq!(question["request"], format!("read {}", at("plain")));
        std::thread::sleep(Duration::from_millis(500));
        broker.must(&["pending", "allow", question["id"].as_str().unwrap()]);
        let called = reading.join().unwrap();
        let out = called.data();
        assert_eq!(out[0], "plain");
        assert!(out[1].as_u64() > Some(5), "others look meanwhile: {out}");
        assert!(out[2].as_f64() < Some(0.4), "and wait for nobody: {out}");
    });
}

#[test]
fn a_process_that_waits_below_files_can_be_killed() {
    let (broker, me) = (&desk().broker, component("killed"));
    let path = format!("/files{}", at("plain"));
    let args = json!({"code": "out = open(args['path']).read()", "path": path});
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let started = Instant::now();
            let called = broker.try_call(&me, &args.to_string(), 1_500).unwrap();
            (called, started.elapsed())
        });
        let id = broker.question(&me)["id"].as_str().unwrap().to_owned();
        let (called, took) = reading.join().unwrap();
        assert_eq!(called.response.stopped_reason, "timeout", "{called:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        eventually("it no longer waits", || broker.waiting(&me).is_empty());
        let late = broker.packctl(&["pending", "allow", &id]).exits(1);
        assert!(late.stderr.contains("was withdrawn"), "{}", late.stderr);
    });
    // The next call finds nobody in its way.
    assert_eq!(
        *broker.run_python(&me, "out = 1", &json!({})).data(),
        json!(1)
    );
}
