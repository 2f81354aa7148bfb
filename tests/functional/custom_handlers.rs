//! Custom handlers: files that are permissions, from the drop into the directory to the answer.

use std::{process::Command, sync::OnceLock, time::Duration};

use rumi_tests::{Broker, Home, Output, answer, eventually, repository, within};
use serde_json::{Value, json};

const CALLER: &str = "probe:tool:do";
const OTHER: &str = "probe:tool:other";

const ECHO: &str = r#"
META = {"requires_scope": False, "supports_modes": ["sandbox"], "description": "Shows what it is given.",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}, "deep": {}}, "additionalProperties": False}}

def execute(context, args):
    return {"success": True, "data": {"context": context, "args": args}}
"#;

fn fixture(home: &Home) {
    home.write_handler("echo", ECHO);
    home.take_handler("sqlite_query");
    home.take_handler("hmac_sign");
    home.write_execute(
        "answers",
        "kind = args['kind']\n\
         if kind == 'raise': raise KeyError('missing')\n\
         if kind == 'error': return {'success': False, 'error': {'type': 'mine', 'message': 'no'}}\n\
         if kind == 'text': return {'success': False, 'error': 'plain'}\n\
         if kind == 'nothing': return {'success': True}\n\
         return {'success': kind, 'data': 1}",
    );
    home.write_file("scopes/echo.json", &json!({
        "version": "1.0", "description": "A test's.", "default_config": {"rows": 7, "list": [1]},
        "limits": {"rows": 5, "forbidden_words": ["x"]},
    }).to_string());
    let db = home.data("db").join("shop.db");
    let program = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1])\n\
        c.execute('create table goods(id integer primary key, name text, price real, picture blob)')\n\
        c.executemany('insert into goods values(?, ?, ?, ?)',\n\
            [(n, 'good %d' % n, n * 1.5, bytes([n % 256])) for n in range(1, 101)])\n\
        c.commit()\n";
    Output::of(Command::new("python3").args(["-I", "-c", program]).arg(&db)).ok();
    let secrets = home.state().join("secrets.json");
    std::fs::create_dir_all(home.state()).unwrap();
    std::fs::write(&secrets, json!({"WEBHOOK_KEY": "Jefe"}).to_string()).unwrap();
    std::fs::set_permissions(
        &secrets,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    home.grant(CALLER, &json!({
        "echo": {"enabled": true, "rows": 3, "own": {"a": 1}},
        "answers": {"enabled": true},
        "sqlite_query": {"enabled": true, "databases": {"shop": db, "gone": db.with_extension("no"), "secret": "/etc/shadow"}, "max_rows": 10},
        "hmac_sign": {"enabled": true, "key": "WEBHOOK_KEY"},
    }));
    home.grant(OTHER, &json!({"echo": {"enabled": false}, "absent": {"enabled": true}, "sqlite_query": {"enabled": true}}));
    home.grant(
        "handler-sqlite_query:tool:execute",
        &json!({
            "file_read": {"enabled": true, "directories": [home.data("db")]}
        }),
    );
    home.grant(
        "handler-hmac_sign:tool:execute",
        &json!({
            "env_read": {"enabled": true, "allowed_keys": ["WEBHOOK_KEY"]}
        }),
    );
}

fn world() -> &'static Broker {
    static WORLD: OnceLock<Broker> = OnceLock::new();
    WORLD.get_or_init(|| {
        let home = Home::new();
        fixture(&home);
        let broker = Broker::start(home);
        broker.up(&["probe"]);
        for name in ["echo", "answers", "sqlite_query", "hmac_sign"] {
            broker.has_handler(name);
        }
        broker
    })
}

#[test]
fn a_handler_is_given_the_caller_and_its_configuration() {
    let broker = world();
    let canary = json!({"n": 5, "deep": "canary-of-arguments-91c7"});
    let reply = broker.answer(CALLER, "echo", &canary);
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(reply["data"]["args"], canary);
    let context = &reply["data"]["context"];
    assert_eq!(context["component"], CALLER);
    assert_eq!(context["pack"], "probe");
    assert_eq!(context["permission"], "echo");
    assert_eq!(context["mode"], "sandbox");
    let config = json!({"rows": 3, "own": {"a": 1}, "list": [1], "forbidden_words": ["x"]});
    assert_eq!(context["config"], config);
    assert_eq!(context.as_object().unwrap().len(), 6);
    let records = broker.records_of(context["record"].as_str().unwrap());
    assert_eq!(records.len(), 2, "{records:#?}");
    for record in &records {
        assert_eq!(record["component"], CALLER);
        assert_eq!(record["permission"], "echo");
        assert_eq!(record["action"], "call");
    }
    assert_eq!(records[0]["decision"], "allow");
    assert_eq!(
        records[1]["detail"]["more"]["success"], true,
        "{records:#?}"
    );
    let log = broker
        .audit()
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    assert!(
        !log.contains("canary-of-arguments"),
        "arguments are not recorded"
    );
    assert!(!broker.log().contains("canary-of-arguments"));
    broker.verify().ok();
}

#[test]
fn answers_have_one_form() {
    let broker = world();
    let of = |kind: Value| broker.answer(CALLER, "answers", &json!({"kind": kind}));
    assert_eq!(of(json!(true)), json!({"ok": true, "data": 1}));
    assert_eq!(of(json!("nothing")), json!({"ok": true, "data": null}));
    assert_eq!(
        of(json!("error")),
        json!({"ok": false, "error": {"type": "mine", "message": "no"}})
    );
    assert_eq!(of(json!("text")), json!({"ok": false, "error": "plain"}));
    let raised = of(json!("raise"));
    assert_eq!(
        (&raised["ok"], &raised["error"]["type"]),
        (&json!(false), &json!("KeyError"))
    );
    for odd in [json!("yes"), json!(1), json!(null), json!([])] {
        let wrapped = of(odd.clone());
        assert_eq!(wrapped["ok"], false, "{odd}");
        assert_eq!(wrapped["error"]["type"], "bad_handler", "{odd}: {wrapped}");
    }
}

#[test]
fn tools_call_handlers_with_the_sdk() {
    let broker = world();
    let called = broker.call(
        CALLER,
        &json!({"op": "call", "args": ["echo"], "kwargs": {"n": 1}}),
    );
    assert_eq!(called.data()["args"], json!({"n": 1}));
    let called = broker.call(CALLER, &json!({"op": "call", "args": ["echo", {"n": 2}]}));
    assert_eq!(called.data()["args"], json!({"n": 2}));
    let failed = broker.call(
        CALLER,
        &json!({"op": "call", "args": ["answers"], "kwargs": {"kind": "error"}}),
    );
    assert_eq!(failed.error_type(), "HandlerError");
    assert!(
        failed.error()["message"].as_str().unwrap().ends_with("no"),
        "{failed:?}"
    );
    let denied = broker.call(CALLER, &json!({"op": "call", "args": ["other"]}));
    assert_eq!(denied.error_type(), "Denied");
    assert_eq!(
        denied.response.denials[0].remedy,
        "packctl grant add probe:tool:do other"
    );
}

#[test]
fn refusals_name_their_reason() {
    let broker = world();
    let empty = json!({});
    assert_eq!(
        broker.custom(CALLER, "unheard", &empty).reason(),
        "no_grant"
    );
    assert_eq!(broker.custom(OTHER, "echo", &empty).reason(), "disabled");
    let absent = broker.custom(OTHER, "absent", &empty);
    assert_eq!(absent.reason(), "unknown_component");
    let shown = broker.must(&["audit", "show", &absent.record()]).stdout;
    assert!(shown.contains("docker/handlers/absent.py"), "{shown}");
    let doctor = broker.packctl(&["doctor"]).stdout;
    assert!(doctor.contains("names `absent`"), "{doctor}");
    let bad = broker.custom(CALLER, "echo", &json!({"n": "five"}));
    assert_eq!(bad.reason(), "bad_request");
    let message = bad.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("/n") && !message.contains("five"),
        "{message}"
    );
}

#[test]
fn a_query_reads_a_granted_database() {
    let broker = world();
    let query = |sql: &str, parameters: Value| {
        let args = json!({"database": "shop", "sql": sql, "parameters": parameters});
        broker.answer(CALLER, "sqlite_query", &args)
    };
    let rows = query(
        "SELECT id, name, price, picture FROM goods WHERE id > ? ORDER BY id LIMIT 2",
        json!([40]),
    );
    assert_eq!(
        rows["data"],
        json!({
            "columns": ["id", "name", "price", "picture"], "truncated": false,
            "rows": [[41, "good 41", 61.5, "KQ=="], [42, "good 42", 63.0, "Kg=="]],
        })
    );
    let named = query(
        "WITH g AS (SELECT * FROM goods) SELECT count(*) AS n FROM g WHERE price < :p",
        json!({"p": 15}),
    );
    assert_eq!(named["data"]["rows"], json!([[9]]));
    let many = query("SELECT id FROM goods", json!([]));
    assert_eq!(many["data"]["rows"].as_array().unwrap().len(), 10);
    assert_eq!(many["data"]["truncated"], true);
    assert_eq!(
        query("SELECT 9e999", json!([]))["data"]["rows"],
        json!([["inf"]])
    );
    for refused in [
        "PRAGMA table_info(goods)",
        "SELECT * FROM pragma_table_info('goods')",
        "ATTACH '/etc/passwd' AS x",
        "INSERT INTO goods(name) VALUES('x')",
        "UPDATE goods SET name = 'x'",
        "DELETE FROM goods",
        "DROP TABLE goods",
        "CREATE TABLE x(a)",
        "BEGIN",
        "VACUUM",
        "SELECT 1; SELECT 2",
        "SELECT load_extension('x')",
        "REINDEX",
        "ANALYZE",
        "SELEC",
        "",
        "-- nothing",
    ] {
        let args = json!({"database": "shop", "sql": refused, "parameters": []});
        let reply = broker.custom(CALLER, "sqlite_query", &args);
        if refused.is_empty() {
            assert_eq!(reply.reason(), "bad_request");
            continue;
        }
        let reply = answer(&reply);
        assert_eq!(reply["ok"], false, "{refused}: {reply}");
        assert_eq!(reply["error"]["type"], "sql", "{refused}: {reply}");
    }
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let slow = query(endless, json!([]));
    assert!(
        slow["error"]["message"]
            .as_str()
            .unwrap()
            .contains("longer than"),
        "{slow}"
    );
    for (database, kind) in [
        ("gone", "unreadable"),
        ("secret", "unreadable"),
        ("other", "no_database"),
    ] {
        let args = json!({"database": database, "sql": "SELECT 1"});
        let reply = broker.answer(CALLER, "sqlite_query", &args);
        assert_eq!(reply["error"]["type"], kind, "{database}: {reply}");
    }
    // The configuration is the caller's own: another one's names are not known to it.
    let reply = broker.answer(
        OTHER,
        "sqlite_query",
        &json!({"database": "shop", "sql": "SELECT 1"}),
    );
    assert_eq!(reply["error"]["type"], "no_database");
}

#[test]
fn a_text_is_signed_with_a_key_the_caller_never_sees() {
    let broker = world();
    let signed = broker.answer(
        CALLER,
        "hmac_sign",
        &json!({"text": "what do ya want for nothing?"}),
    );
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(signed, json!({"ok": true, "data": expected}));
    let refused = broker
        .as_component(CALLER)
        .json("EnvRead", &json!({"key": "WEBHOOK_KEY"}));
    assert_eq!(refused.reason(), "no_grant");
}

#[test]
fn packctl_shows_handlers_and_grants_them() {
    let broker = world();
    let listed = broker.must(&["handlers", "ls", "-o", "json"]).json();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["answers", "echo", "hmac_sign", "sqlite_query"]);
    assert_eq!(listed[3]["requires_scope"], true);
    assert_eq!(listed[1]["description"], "Shows what it is given.");
    let component = "probe:tool:narrow";
    broker.must(&[
        "grant",
        "add",
        component,
        "echo",
        "--config",
        r#"{"rows": 50}"#,
    ]);
    let unknown = broker.must(&["grant", "add", component, "ecco"]);
    assert!(
        unknown.stderr.contains("there is no handler `ecco`"),
        "{unknown:?}"
    );
    let lint = broker.packctl(&["grant", "lint"]).stdout;
    assert!(lint.contains("there is no handler `ecco`"), "{lint}");
    broker.must(&["grant", "check", component, "echo", "{}"]);
    assert_eq!(
        broker
            .packctl(&["grant", "check", component, "hmac_sign", "{}"])
            .code,
        3
    );
    broker.must(&["grant", "rm", component, "ecco"]);
    let text = std::fs::read_to_string(broker.home().grant_file(component)).unwrap();
    let grant: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        grant["permissions"],
        json!({"echo": {"enabled": true, "rows": 50}})
    );
    let call = broker.packctl(&["call", "handler-echo:tool:execute"]);
    assert!(
        call.code != 0 && call.stderr.contains("custom handler"),
        "{call:?}"
    );
}

#[test]
fn handlers_come_change_and_go_while_the_broker_runs() {
    let home = Home::new();
    let both = json!({"enabled": true});
    home.grant(CALLER, &json!({"late": both, "slow": both}));
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let call = |name: &str| broker.custom(CALLER, name, &json!({}));
    assert_eq!(call("late").reason(), "unknown_component");
    broker
        .home()
        .write_execute("late", "return {'success': True, 'data': 1}");
    broker.has_handler("late");
    assert_eq!(
        broker.containers().len(),
        1,
        "an unused handler has no container"
    );
    assert_eq!(broker.handler("late").unwrap().state, "ready");
    assert_eq!(answer(&call("late"))["data"], 1);
    assert_eq!(broker.containers().len(), 2);
    let listed = broker.must(&["ps"]).stdout;
    assert!(listed.contains("custom handler `late`"), "{listed}");

    // A call that runs ends on the code that it began with, and the next has the new one.
    let slow =
        |n: u32| format!("import time\ntime.sleep(4)\nreturn {{'success': True, 'data': {n}}}");
    broker.home().write_execute("slow", &slow(1));
    broker.has_handler("slow");
    assert_eq!(answer(&call("slow"))["data"], 1);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| answer(&call("slow")));
        std::thread::sleep(Duration::from_millis(500));
        broker.home().write_execute("slow", &slow(2));
        assert_eq!(running.join().unwrap()["data"], 1);
    });
    within(Duration::from_secs(60), "the new code", || {
        answer(&call("slow"))["data"] == 2
    });

    // Broken code denies; it does not leave the old code behind.
    broker.home().write_handler("late", "def execute(:\n");
    let why = broker.refused_handler("late");
    assert!(why.contains("SyntaxError"), "{why}");
    assert_eq!(call("late").reason(), "unknown_component");
    let doctor = broker.packctl(&["doctor"]);
    assert!(doctor.stdout.contains("`late` is refused"), "{doctor:?}");
    broker
        .home()
        .write_execute("late", "return {'success': True, 'data': 3}");
    broker.has_handler("late");
    assert_eq!(answer(&call("late"))["data"], 3);

    let file = |name: &str| {
        broker
            .home()
            .path()
            .join(format!("docker/handlers/{name}.py"))
    };
    std::fs::remove_file(file("late")).unwrap();
    within(Duration::from_secs(15), "the handler's end", || {
        broker.handler("late").is_none()
    });
    assert_eq!(call("late").reason(), "unknown_component");
    eventually("its container's end", || broker.containers().len() == 2);
    assert!(broker.home().grant_file(CALLER).exists());
}

#[test]
fn a_restart_finds_handlers_as_they_were() {
    let home = Home::new();
    home.write_execute("stays", "return {'success': True, 'data': 1}");
    home.write_execute("goes", "return {'success': True, 'data': 1}");
    home.grant(
        CALLER,
        &json!({"stays": {"enabled": true}, "goes": {"enabled": true}}),
    );
    let mut broker = Broker::start(home);
    broker.up(&["probe"]);
    for name in ["stays", "goes"] {
        broker.has_handler(name);
        // As with a new base image: what would be started is not what was loaded. It is loaded
        // again, for the one who called.
        let made = format!("handlers/handler-{name}/handler/{name}.py");
        std::fs::write(
            broker.home().state().join(made),
            "raise ValueError('not mine')",
        )
        .unwrap();
        within(Duration::from_secs(60), "an answer", || {
            broker.custom(CALLER, name, &json!({})).status == 200
        });
        assert_eq!(broker.answer(CALLER, name, &json!({}))["data"], 1);
    }
    assert_eq!(broker.containers().len(), 3);
    broker.kill9();
    std::fs::remove_file(broker.home().path().join("docker/handlers/goes.py")).unwrap();
    broker.launch();
    broker.has_handler("stays");
    eventually("the worker", || {
        broker.call(CALLER, &json!({"op": "pid"})).result["ok"] == true
    });
    assert_eq!(broker.answer(CALLER, "stays", &json!({}))["data"], 1);
    eventually("the end of what nobody names", || {
        broker.containers().len() == 2
    });
    assert_eq!(
        broker.custom(CALLER, "goes", &json!({})).reason(),
        "unknown_component"
    );
}

#[test]
fn a_scope_that_is_required_is_missed() {
    let home = Home::new();
    let source = ECHO.replace("\"requires_scope\": False", "\"requires_scope\": True");
    home.write_handler("strict", &source);
    home.grant(CALLER, &json!({"strict": {"enabled": true}}));
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    let why = broker.refused_handler("strict");
    assert!(why.contains("scopes/strict.json"), "{why}");
    assert_eq!(
        broker.custom(CALLER, "strict", &json!({})).reason(),
        "scope_invalid"
    );
    let scope = json!({"version": "1.0", "description": "d", "default_config": {}, "limits": {}});
    broker.changed(|home| home.write_file("scopes/strict.json", &scope.to_string()));
    broker.has_handler("strict");
    assert_eq!(broker.answer(CALLER, "strict", &json!({}))["ok"], true);
    broker.changed(|home| home.write_file("scopes/strict.json", "{"));
    assert_eq!(
        broker.custom(CALLER, "strict", &json!({})).reason(),
        "scope_invalid"
    );
}

/// What docker/handlers/README.md shows is done as it stands there.
#[test]
fn the_readmes_handler_works_as_it_stands() {
    let readme = std::fs::read_to_string(repository().join("docker/handlers/README.md")).unwrap();
    let block = |language: &str, nth: usize| {
        let fence = format!("```{language}\n");
        let found = readme.split(fence.as_str()).nth(nth).expect("a block");
        found.split("```").next().unwrap().to_owned()
    };
    let broker = Broker::start(Home::new());
    broker
        .home()
        .write_handler("word_count", &block("python", 1));
    broker.up(&["probe"]);
    broker.has_handler("word_count");
    let grant = block("sh", 1).replace("default:tool:my_tool", CALLER);
    let command = grant
        .lines()
        .find(|line| line.contains("grant add"))
        .unwrap();
    let (words, config) = command.split_once('\'').unwrap();
    let words: Vec<_> = words
        .split_whitespace()
        .skip(1)
        .chain([config.trim_end_matches('\'')])
        .collect();
    broker.must(&words);
    let called = broker.call(
        CALLER,
        &json!({"op": "call", "args": ["word_count"], "kwargs": {"text": "one two"}}),
    );
    let shown = block("python", 2);
    assert!(
        shown.contains(r#"rumi.call("word_count", text="one two")"#),
        "{shown}"
    );
    assert!(shown.contains(&format!("# {}", called.data())), "{shown}");
    let many = broker.answer(CALLER, "word_count", &json!({"text": "x ".repeat(501)}));
    assert_eq!(many["error"]["type"], "too_many");
}
