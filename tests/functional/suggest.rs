//! From denials to the narrowest grants, against a broker that then is asked again.

use std::{
    fs,
    io::{Read as _, Write as _},
};

use rumi_tests::{Broker, Home, NameServer, Peer, WebServer, write_snippets};
use serde_json::{Value, json};

const PACK: &str = "wishes";
const NAMES: [&str; 13] = [
    "read", "stat", "list", "write", "mkdir", "rename", "key", "command", "second", "fetch",
    "tunnel", "resolve", "left",
];

/// Component, method, message, and what of its kind must stay denied.
type Wish = (
    &'static str,
    &'static str,
    Value,
    Vec<(&'static str, Value)>,
);

struct Stage {
    broker: Broker,
    web: WebServer,
    _names: NameServer,
}

impl Stage {
    fn start() -> Self {
        let home = Home::new();
        let web = WebServer::start("127.0.0.1");
        let names = NameServer::start(&[
            ("one.test", &["127.0.0.1"]),
            ("two.test", &["127.0.0.1"]),
            ("intranet.test", &["10.1.2.3"]),
        ]);
        home.configure(|config| {
            config["network"]["allowed_ranges"] = json!(["127.0.0.1/32"]);
            config["network"]["resolvers"] = json!([names.address()]);
        });
        write_snippets(&home, PACK, &NAMES);
        for name in ["data/a.txt", "data/b.txt", "work/here", "work2/there"] {
            home.file(name, "content");
        }
        let work = home.data("work");
        home.grant(
            &component("second"),
            &json!({"terminal": {"enabled": true, "directories": [work], "allowed_commands": ["ls"]}}),
        );
        home.grant(
            &component("left"),
            &json!({"network": {"enabled": true, "allowed_domains": ["intranet.test"], "allowed_ports": [80]}}),
        );
        let environment = [("SHOP_A", "a"), ("SHOP_B", "b")];
        let broker = Broker::start_with(home, &environment);
        broker.up(&[PACK]);
        Self {
            broker,
            web,
            _names: names,
        }
    }

    fn at(&self, name: &str) -> String {
        let path = self.broker.home().base().join("data").join(name);
        path.to_str().unwrap().to_owned()
    }

    fn peer(&self, name: &str) -> Peer {
        self.broker.as_component(&component(name))
    }

    /// The status of one request; 403 is a refusal.
    fn ask(&self, name: &str, method: &str, message: &Value) -> u16 {
        if method == "CONNECT" {
            return self.connect(name, message.as_str().unwrap());
        }
        self.peer(name).json(method, message).status
    }

    fn connect(&self, name: &str, authority: &str) -> u16 {
        let mut stream = self.peer(name).connect().unwrap();
        write!(
            stream,
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        )
        .unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Component, method and message of what is denied and wanted, and of what must stay denied.
    fn wishes(&self) -> Vec<Wish> {
        let at = |name: &str| json!({"path": self.at(name)});
        let write = |name: &str| json!({"path": self.at(name), "data": "eA=="});
        let rename = |from: &str, to: &str| json!({"from": self.at(from), "to": self.at(to)});
        let run =
            |argv: &[&str], directory: &str| json!({"argv": argv, "directory": self.at(directory)});
        let fetch = |host: &str, port: u16| json!({"method": "GET", "url": format!("http://{host}:{port}/hello")});
        let port = self.web.port();
        let other = WebServer::start("127.0.0.1").port();
        vec![
            (
                "read",
                "FileRead",
                at("data/a.txt"),
                vec![
                    ("FileRead", at("data/b.txt")),
                    ("FileList", at("data")),
                    ("FileWrite", write("data/a.txt")),
                ],
            ),
            (
                "stat",
                "FileStat",
                at("data/a.txt"),
                vec![("FileStat", at("data/b.txt"))],
            ),
            (
                "list",
                "FileList",
                at("data"),
                vec![("FileList", at("work"))],
            ),
            (
                "write",
                "FileWrite",
                write("data/new.txt"),
                vec![
                    ("FileWrite", write("data/b.txt")),
                    ("FileRead", at("data/new.txt")),
                    ("FileDelete", at("data/b.txt")),
                ],
            ),
            (
                "mkdir",
                "FileMkdir",
                at("data/made"),
                vec![("FileMkdir", at("data/made2"))],
            ),
            (
                "rename",
                "FileRename",
                rename("data/new.txt", "data/moved.txt"),
                vec![
                    ("FileRename", rename("data/b.txt", "data/moved.txt")),
                    ("FileRename", rename("data/moved.txt", "data/c.txt")),
                ],
            ),
            (
                "key",
                "EnvRead",
                json!({"key": "SHOP_A"}),
                vec![("EnvRead", json!({"key": "SHOP_B"}))],
            ),
            (
                "command",
                "TerminalRun",
                run(&["ls"], "work"),
                vec![
                    ("TerminalRun", run(&["cat", "here"], "work")),
                    ("TerminalRun", run(&["ls"], "work2")),
                ],
            ),
            (
                "second",
                "TerminalRun",
                run(&["cat", "here"], "work"),
                vec![
                    ("TerminalRun", run(&["head", "here"], "work")),
                    ("TerminalRun", run(&["cat", "there"], "work2")),
                ],
            ),
            (
                "fetch",
                "NetworkFetch",
                fetch("one.test", port),
                vec![
                    ("NetworkFetch", fetch("one.test", other)),
                    ("NetworkFetch", fetch("two.test", port)),
                ],
            ),
            (
                "tunnel",
                "CONNECT",
                json!(format!("one.test:{port}")),
                vec![
                    ("CONNECT", json!(format!("one.test:{other}"))),
                    ("CONNECT", json!("one.test:443")),
                    ("CONNECT", json!(format!("two.test:{port}"))),
                ],
            ),
            (
                "resolve",
                "NetworkResolve",
                json!({"host": "one.test"}),
                vec![("NetworkResolve", json!({"host": "two.test"}))],
            ),
        ]
    }
}

fn component(name: &str) -> String {
    format!("{PACK}:tool:{name}")
}

#[test]
fn what_was_denied_is_granted_and_its_siblings_are_not() {
    let stage = Stage::start();
    let broker = &stage.broker;
    let wishes = stage.wishes();
    for (name, method, message, _) in &wishes {
        assert_eq!(stage.ask(name, method, message), 403, "{name}");
    }
    // And what no grant should lift.
    let left = [
        ("FileRead", json!({"path": "/etc/shadow"})),
        (
            "NetworkFetch",
            json!({"method": "GET", "url": "http://intranet.test/"}),
        ),
        (
            "NetworkFetch",
            json!({"method": "GET", "url": "http://intranet.test:22/"}),
        ),
    ];
    for (method, message) in &left {
        assert_eq!(stage.ask("left", method, message), 403);
    }
    assert_eq!(
        stage.ask("left", "FileRead", &json!({"path": "relative"})),
        400
    );
    let before = broker.home().base().join("before");
    copy(&broker.home().path().join("grants"), &before.join("grants"));

    // Nothing is changed by looking, and the history got what these very grants give.
    let proposal = broker.must(&["grant", "suggest", "-o", "json"]).json();
    assert_eq!(proposal["applied"], json!(false));
    assert_eq!(
        proposal["changes"].as_array().unwrap().len(),
        wishes.len(),
        "{proposal:#}"
    );
    let reasons = proposal["left"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = reasons
        .map(|left| left["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    let expected = [
        "bad_request",
        "blocked_address",
        "forbidden_by_scope",
        "no_grant",
    ];
    assert_eq!(reasons, expected, "{proposal:#}");
    let before = before.to_str().unwrap();
    broker
        .packctl(&["grant", "replay", before])
        .exits(0)
        .says(&["0 denied to allowed"]);

    broker
        .must(&["grant", "suggest", "--apply"])
        .says(&["applied"]);
    let home = broker.home().path();
    let replayed = broker.packctl(&["grant", "replay", home.to_str().unwrap()]);
    let lifted = format!("{} denied to allowed", wishes.len());
    replayed.exits(6).says(&["0 allowed to denied", &lifted]);
    for (name, method, message, siblings) in &wishes {
        assert_eq!(stage.ask(name, method, message), 200, "{name}");
        for (method, message) in siblings {
            assert_eq!(
                stage.ask(name, method, message),
                403,
                "{name}: {method} {message}"
            );
        }
    }
    for (method, message) in &left {
        assert_eq!(stage.ask("left", method, message), 403);
    }
    fs::read_to_string(stage.at("data/moved.txt")).unwrap();
    broker.verify().ok();
}

#[test]
fn decisions_are_explained_and_counted_with_no_broker_running() {
    let mut stage = Stage::start();
    stage.broker.grant(
        &component("read"),
        &json!({"file_read": {"enabled": true, "directories": [], "files": [stage.at("data/a.txt")]}}),
    );
    let read = |stage: &Stage, name: &str| {
        let message = json!({"path": stage.at(name)});
        stage.peer("read").json("FileRead", &message)
    };
    assert_eq!(read(&stage, "data/a.txt").status, 200);
    let denied = read(&stage, "data/b.txt").record();
    stage.broker.stop();
    let home = stage.broker.home();
    let why = home.packctl(&["grant", "why", &denied]).exits(0);
    let (a, b) = (stage.at("data/a.txt"), stage.at("data/b.txt"));
    let nearest = format!("`{a}` of file_read.files comes nearest");
    why.says(&[
        "which is what the files hold now",
        "deny: outside_directory",
        &nearest,
        &format!("\"{b}\""),
        &format!("packctl grant suggest --record {denied} --apply"),
    ]);
    let rows = home.packctl(&["grant", "ls", "-o", "json"]).exits(0).json();
    let row = rows.as_array().unwrap().iter();
    let mut row = row.filter(|row| row["component"] == json!(component("read")));
    let row = row.next().unwrap();
    assert_eq!(
        (&row["uses"], row["last_use"].is_string()),
        (&json!(1), true)
    );
    home.packctl(&["grant", "suggest", "--record", &denied, "--apply"])
        .exits(0);
    let granted = fs::read_to_string(home.grant_file(&component("read"))).unwrap();
    let granted: Value = serde_json::from_str(&granted).unwrap();
    assert_eq!(granted["permissions"]["file_read"]["files"], json!([a, b]));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
