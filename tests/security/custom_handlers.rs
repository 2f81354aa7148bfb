//! Handlers are code nobody vouches for either, and so are those who call them.

use std::{
    os::unix::fs::symlink,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, answer, eventually};
use serde_json::{Value, json};

const CALLER: &str = "probe:tool:do";
const OTHER: &str = "probe:tool:other";

/// What files that are no handlers look like, and what the admin is told of each.
const BAD: [(&str, &str, &str); 16] = [
    ("syntax", "def execute(:\n", "SyntaxError"),
    ("raises", "raise ValueError('at import')", "at import"),
    ("leaves", "import os\nos._exit(0)", "ended while it loaded"),
    ("loops", "while True: pass", "within"),
    (
        "no_meta",
        "def execute(context, args): pass",
        "defines no `META`",
    ),
    ("no_execute", "META = {}", "defines no function `execute"),
    (
        "not_called",
        "META = {}\nexecute = 5",
        "defines no function `execute",
    ),
    (
        "lies",
        "META = {'requires_scope': False, 'supports_modes': ['host'], 'description': 'x'}\ndef execute(c, a): pass",
        "`host` is not a mode",
    ),
    (
        "unknown_key",
        "META = {'requires_scope': False, 'supports_modes': ['sandbox'], 'description': 'x', 'trusted': True}\ndef execute(c, a): pass",
        "there is no such field",
    ),
    (
        "list",
        "META = []\ndef execute(c, a): pass",
        "must be an object",
    ),
    (
        "huge",
        "META = {'description': 'x' * 100_000_000}\ndef execute(c, a): pass",
        "needed more than",
    ),
    (
        "large",
        "META = {'description': 'x' * 1_000_000}\ndef execute(c, a): pass",
        "larger than",
    ),
    (
        "nan",
        "META = {'description': float('nan')}\ndef execute(c, a): pass",
        "JSON",
    ),
    (
        "cycle",
        "META = {}\nMETA['a'] = META\ndef execute(c, a): pass",
        "JSON",
    ),
    (
        "escape",
        "META = {'requires_scope': False, 'supports_modes': ['sandbox'], 'description': 'a\\x1b[2Jb'}\ndef execute(c, a): pass",
        "one line of plain text",
    ),
    (
        "schema",
        "META = {'requires_scope': False, 'supports_modes': ['sandbox'], 'description': 'x', 'schema': {'$ref': 'file:///etc/passwd'}}\ndef execute(c, a): pass",
        "no JSON Schema",
    ),
];

const ACTS: &str = r#"
import os, sys, time, signal
kind = args["kind"]
if kind == "raise": raise BaseException("its own")
if kind == "exit": os._exit(0)
if kind == "sys_exit": sys.exit(3)
if kind == "segfault": import ctypes; ctypes.string_at(0)
if kind == "sleep": time.sleep(600)
if kind == "nan": return {"success": True, "data": float("nan")}
if kind == "cycle": loop = []; loop.append(loop); return {"success": True, "data": loop}
if kind == "large": return {"success": True, "data": "x" * (10 << 20)}
if kind == "huge": return {"success": True, "data": "x" * (1 << 30)}
if kind == "memory": return {"success": True, "data": len(bytearray(os.urandom(1024)) * (1 << 21))}
if kind == "deep":
    loop = []
    for _ in range(100000): loop = [loop]
    return {"success": True, "data": loop}
if kind == "frame":
    # Answers in the runner's place, on every descriptor it finds.
    body = b'{"type":"result","result":{"ok":"yes"},"stdout":"","stderr":"","truncated":false}'
    for fd in range(3, 1024):
        try: os.write(fd, len(body).to_bytes(4, "big") + body)
        except OSError: pass
    os._exit(0)
if kind == "fork":
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: time.sleep(600)
            os._exit(0)
    return {"success": True, "data": os.getpid()}
if kind == "bomb":
    while True:
        try: os.fork()
        except OSError: pass
if kind == "processes":
    return {"success": True, "data": sum(os.stat("/proc/" + name).st_uid == os.getuid() for name in os.listdir("/proc") if name.isdigit())}
if kind == "write":
    for folder in ("/tmp", "/dev/shm", "/opt/pack/handler", "/run/rumi"):
        try: open(folder + "/left", "w").write("x")
        except OSError: pass
    return {"success": True, "data": None}
if kind == "look":
    found = {"left": [folder for folder in ("/tmp", "/dev/shm", "/opt/pack/handler") if os.path.exists(folder + "/left")]}
    found["sockets"] = sorted(name for name in os.listdir("/run/rumi") if name.endswith(".sock"))
    found["code"] = sorted(name for name in os.listdir("/opt/pack/handler") if name.endswith(".py"))
    found["environ"] = dict(os.environ)
    found["host"] = os.path.exists("/opt/pack/probe.py")
    return {"success": True, "data": found}
if kind == "own":
    import rumi
    try: return {"success": True, "data": rumi.read_text(args["path"])}
    except rumi.Denied as denied: return {"success": False, "error": {"type": denied.reason, "message": denied.record}}
if kind == "again":
    import rumi
    try: return {"success": True, "data": 1 + rumi.call("acts", kind="again")}
    except rumi.Denied as denied: return {"success": True, "data": denied.reason}
    except TypeError: return {"success": True, "data": rumi.call("acts", kind="again")}
return {"success": False, "error": "unknown"}
"#;

fn world() -> &'static Broker {
    static WORLD: OnceLock<Broker> = OnceLock::new();
    WORLD.get_or_init(|| {
        let home = Home::new();
        home.configure(|config| config["tool"]["timeout_ms"] = json!(6000));
        home.write_execute("acts", ACTS);
        home.write_execute("quiet", ACTS);
        let both = json!({"enabled": true, "secret_of_caller": "canary-of-config-5d2e"});
        home.grant(CALLER, &json!({"acts": both, "quiet": {"enabled": true}}));
        home.grant(
            "handler-acts:tool:execute",
            &json!({
                "acts": {"enabled": true},
                "file_read": {"enabled": true, "directories": [home.data("acts")]},
            }),
        );
        home.file("acts/file", "for acts alone");
        let broker = Broker::start(home);
        broker.up(&["probe"]);
        broker.has_handler("acts");
        broker.has_handler("quiet");
        broker
    })
}

fn act(kind: &str) -> Value {
    world().answer(CALLER, "acts", &json!({"kind": kind}))
}

#[test]
fn a_file_that_is_no_handler_is_refused_and_runs_nowhere_else() {
    let home = Home::new();
    for (name, source, _) in BAD {
        home.write_handler(name, source);
    }
    let handlers = home.path().join("docker/handlers");
    for name in [
        "Upper.py",
        "file_read.py",
        "a-b.py",
        "ｃ.py",
        "a\u{1b}[2J.py",
        "..py.py",
    ] {
        std::fs::write(handlers.join(name), "raise SystemExit").unwrap();
    }
    symlink("/etc/passwd", handlers.join("link.py")).unwrap();
    symlink("syntax.py", handlers.join("near.py")).unwrap();
    std::fs::create_dir(handlers.join("folder.py")).unwrap();
    std::fs::write(handlers.join("fat.py"), vec![b'#'; 2 << 20]).unwrap();
    let permissions: serde_json::Map<String, Value> = BAD
        .iter()
        .map(|(name, _, _)| ((*name).to_owned(), json!({"enabled": true})))
        .collect();
    home.grant(CALLER, &permissions.into());
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    for (name, _, says) in BAD {
        let why = broker.refused_handler(name);
        assert!(why.contains(says), "{name}: {why}");
        assert!(why.chars().all(|c| !c.is_control()), "{name}: {why:?}");
        let refused = broker.custom(CALLER, name, &json!({}));
        assert_eq!(refused.reason(), "unknown_component", "{name}");
        let said = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(!said.contains(says), "the caller is not told: {said}");
    }
    for (name, says) in [
        ("link", "symlink"),
        ("near", "symlink"),
        ("folder", "regular file"),
        ("fat", "larger"),
    ] {
        assert!(broker.refused_handler(name).contains(says), "{name}");
    }
    let strangers = broker
        .handlers()
        .into_iter()
        .filter(|one| one.name.ends_with(".py"))
        .count();
    assert_eq!(
        strangers,
        6 - 1,
        "a name that begins with a dot is nobody's"
    );
    let listed = broker.must(&["handlers", "ls"]).stdout;
    assert!(!listed.contains('\u{1b}'), "{listed:?}");
    eventually("no container is left", || broker.containers().len() == 1);
    assert!(!broker.log().contains("panicked"));
}

#[test]
fn whatever_execute_does_ends_as_an_answer() {
    for (kind, types) in [
        ("raise", &["BaseException"][..]),
        ("exit", &["crashed"]),
        ("sys_exit", &["SystemExit"]),
        ("segfault", &["crashed"]),
        ("sleep", &["timeout"]),
        ("nan", &["unserializable"]),
        ("cycle", &["unserializable"]),
        ("deep", &["unserializable"]),
        ("large", &["too_large"]),
        ("huge", &["memory", "MemoryError", "result_too_large"]),
        ("memory", &["memory", "MemoryError"]),
        ("frame", &["bad_handler", "crashed"]),
        ("bomb", &["timeout", "memory"]),
    ] {
        let reply = act(kind);
        assert_eq!(reply["ok"], false, "{kind}");
        let found = reply["error"]["type"].as_str().unwrap_or_default();
        assert!(types.contains(&found), "{kind}: {reply}");
    }
    let pid = act("fork")["data"].as_u64().unwrap();
    assert!(pid > 0);
    eventually("only the staff is left", || {
        act("processes")["data"].as_u64().unwrap() <= 6
    });
    assert!(!world().log().contains("panicked"));
    world().verify().ok();
}

#[test]
fn a_call_leaves_nothing_for_the_next_and_sees_no_other_container() {
    let mut seen = Value::Null;
    // It is wiped when no call of the component runs, and other tests call it too.
    eventually("what a call wrote is gone before the next", || {
        act("write");
        seen = act("look")["data"].clone();
        seen["left"] == json!([])
    });
    assert_eq!(seen["sockets"], json!(["handler-acts:tool:execute.sock"]));
    assert_eq!(seen["code"], json!(["acts.py"]));
    assert_eq!(seen["host"], false);
    assert!(!seen["environ"].to_string().contains("probe"), "{seen}");
    let other = world().answer(CALLER, "quiet", &json!({"kind": "look"}))["data"].clone();
    assert_eq!(other["sockets"], json!(["handler-quiet:tool:execute.sock"]));
    assert_eq!(other["code"], json!(["quiet.py"]));
    // A caller lends a handler nothing of its own, and one handler another nothing.
    let path = world().home().base().join("data/acts/file");
    let read =
        |handler: &str| world().answer(CALLER, handler, &json!({"kind": "own", "path": path}));
    assert_eq!(read("acts")["data"], "for acts alone");
    assert_eq!(read("quiet")["error"]["type"], "no_grant");
}

#[test]
fn a_handler_that_calls_itself_comes_to_an_end() {
    let started = Instant::now();
    let reply = act("again");
    assert!(reply.to_string().contains("quota"), "{reply}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn names_and_arguments_are_bounded() {
    let broker = world();
    let peer = broker.as_component(CALLER);
    let call = |permission: &str, args: &str| {
        peer.json(
            "CustomCall",
            &json!({"permission": permission, "argsJson": args}),
        )
    };
    for name in [
        "",
        "../acts",
        "acts.py",
        "Acts",
        "file_read",
        "terminal",
        "handler-acts",
        "acts/../acts",
        "acts\0",
        "аcts",
        "acts ",
        &"a".repeat(41),
        &"a".repeat(100_000),
    ] {
        assert_eq!(call(name, "{}").reason(), "bad_request", "{name:.50}");
    }
    for args in [
        "[]",
        "5",
        "null",
        "{",
        "{} {}",
        "\u{feff}{}",
        &"[".repeat(10_000),
        &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)),
    ] {
        assert_eq!(call("acts", args).reason(), "bad_request", "{args:.50}");
    }
    let large = json!({"kind": "x".repeat(3 << 20)}).to_string();
    assert_eq!(call("acts", &large).reason(), "too_large");
    let fits = json!({"kind": "x".repeat(1_000_000)}).to_string();
    assert_eq!(answer(&call("acts", &fits))["error"], "unknown");
    assert_eq!(call("acts", &"x".repeat(5 << 20)).status, 429);
    // The last of two keys counts, for the schema and for the handler alike.
    assert_eq!(
        answer(&call("acts", r#"{"kind": "exit", "kind": "nothing"}"#))["error"],
        "unknown"
    );
}

#[test]
fn a_configuration_is_its_callers_own() {
    let broker = world();
    assert_eq!(
        broker
            .custom(OTHER, "acts", &json!({"kind": "look"}))
            .reason(),
        "no_grant"
    );
    let log: String = broker.audit().iter().map(Value::to_string).collect();
    assert!(
        !log.contains("canary-of-config"),
        "configurations are not recorded"
    );
    // What looks like a context in the arguments stays in the arguments.
    let forged = json!({"kind": "nothing", "context": {"component": "root"}, "describe": true});
    assert_eq!(broker.answer(CALLER, "acts", &forged)["error"], "unknown");
}

#[test]
fn a_running_call_ends_with_its_grant() {
    let home = Home::new();
    home.write_execute(
        "naps",
        "import time\ntime.sleep(20)\nreturn {'success': True}",
    );
    home.grant(CALLER, &json!({"naps": {"enabled": true}}));
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    broker.has_handler("naps");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| broker.answer(CALLER, "naps", &json!({})));
        eventually("the call", || {
            broker.handler("naps").unwrap().state == "running"
        });
        std::thread::sleep(Duration::from_secs(1));
        broker.grant(CALLER, &json!({}));
        let revoked = Instant::now();
        let reply = running.join().unwrap();
        assert_eq!(reply["error"]["type"], "cut", "{reply}");
        rumi_tests::in_time(revoked, Duration::from_secs(1));
    });
}

#[test]
fn a_pack_cannot_take_a_handlers_name() {
    let home = Home::new();
    home.write_execute("mine", "return {'success': True, 'data': 'the handler'}");
    home.write_pack("handler-mine", "def run(args):\n    return 'the pack'\n");
    home.write_pack("handler-free", "def run(args):\n    return 'the pack'\n");
    home.grant(CALLER, &json!({"mine": {"enabled": true}}));
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    broker.has_handler("mine");
    assert_eq!(
        broker.answer(CALLER, "mine", &json!({}))["data"],
        "the handler"
    );
    let up = broker.packctl(&["up", "handler-free"]);
    assert!(
        up.code != 0 && up.stderr.contains("kept for custom handlers"),
        "{up:?}"
    );
    let doctor = broker.packctl(&["doctor"]).stdout;
    assert!(doctor.contains("docker/packs/handler-free"), "{doctor}");
    broker.must(&["up", "--yes"]);
    assert!(broker.ps().iter().all(|pack| pack.pack != "handler-free"));
    assert_eq!(
        broker.answer(CALLER, "mine", &json!({}))["data"],
        "the handler"
    );
}
