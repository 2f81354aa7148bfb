//! Ad-hoc code that attacks whatever it can reach: each attack ends at its limit, and the next run answers.

use rumi_tests::{Broker, Home, eventually};
use serde_json::{Value, json};

/// What an attack does, and how the broker says that it ended; several where the kernel decides.
const ATTACKS: &[(&str, &str, &[&str])] = &[
    (
        "a fork bomb",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        &["pids"],
    ),
    (
        "a bomb of memory",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        &["memory"],
    ),
    (
        "a bomb of mapped memory",
        "import mmap\nx = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 20)\n    m.write(b'x' * (1 << 20))\n    x.append(m)",
        &["memory"],
    ),
    (
        "a bomb of files in memory",
        "import os\nn = 0\nwhile True:\n    for d in ('/tmp', '/workspace'):\n        with open(f'{d}/{n}', 'wb') as f: f.write(b'x' * (1 << 20))\n    n += 1",
        &["memory", ""],
    ),
    (
        "a flood",
        "import sys\nwhile True: sys.stdout.write('x' * 65536)",
        &["output"],
    ),
    (
        "a flood of errors",
        "import sys\nwhile True: sys.stderr.write('x' * 65536)",
        &["output"],
    ),
    ("a burner of processors", "while True: pass", &["timeout"]),
    (
        "one that hears no signal",
        "import signal, time\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: time.sleep(100)",
        &["timeout"],
    ),
    (
        "children that leave",
        "import os, time\nfor _ in range(10):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            while True: time.sleep(100)\n        os._exit(0)\ntime.sleep(100)",
        &["timeout"],
    ),
    (
        "a storm of zombies",
        "import os\nfor _ in range(100000):\n    if os.fork() == 0: os._exit(0)",
        &["pids", "timeout", ""],
    ),
    (
        "a hundred thousand files",
        "x = [open('/dev/null') for _ in range(100000)]",
        &[""],
    ),
    (
        "deep recursion",
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
        &["killed", "memory", ""],
    ),
    ("a crash", "import ctypes\nctypes.string_at(0)", &["killed"]),
    ("an end without a word", "import os\nos._exit(0)", &[""]),
    (
        "an end that hangs",
        "import atexit, time\natexit.register(lambda: time.sleep(1000))",
        &["timeout"],
    ),
    (
        "the death of its keeper",
        "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(100)",
        &["killed"],
    ),
    (
        "the death of everybody",
        "import os, time\nos.kill(-1, 9)\ntime.sleep(100)",
        &["killed", "timeout"],
    ),
    (
        "a word in the keeper's memory",
        "import os\nopen(f'/proc/{os.getppid()}/mem', 'r+b').write(b'x')",
        &[""],
    ),
    (
        "a stopped keeper",
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(100)",
        &["timeout"],
    ),
];

#[test]
fn whatever_ad_hoc_code_does_ends_at_its_limit_and_the_next_run_answers() {
    let home = Home::new();
    home.configure(|config| {
        let exec = config.get_mut("exec").and_then(Value::as_object_mut);
        exec.expect("a section")
            .insert("validation".to_owned(), json!({"enabled": false}));
    });
    let broker = Broker::start(home);
    let run = |time: &str, code: &str| -> Value {
        let output = broker.packctl(&["-o", "json", "exec", "--time", time, "-c", code]);
        serde_json::from_str(&output.stdout).expect("a reply in JSON")
    };
    for (what, code, ends) in ATTACKS {
        // What ends by itself, or at another limit, has all the time that it needs for that.
        let time = if ends.contains(&"timeout") {
            "3"
        } else {
            "120"
        };
        let reply = run(time, code);
        let reason = reply["stopped_reason"].as_str().unwrap_or("");
        assert!(ends.contains(&reason), "{what}: {reply}");
        assert!(reply["error"].is_null(), "{what}: {reply}");
        if reason == "memory" {
            let used = reply["memory_peak_bytes"].as_u64().expect("a number");
            assert!(used <= 64 << 20, "{what}: {reply}");
        }
        let next = run("60", "print('still here')");
        assert_eq!(next["stdout"], "still here\n", "after {what}: {next}");
    }
    // Nothing of any of them is left: only the containers that wait.
    eventually("only those that wait are there", || {
        broker.containers().len() <= 2
    });
}

#[test]
fn a_run_sees_neither_the_host_nor_another_run_and_holds_no_right() {
    let home = Home::new();
    home.configure(|config| {
        let exec = config.get_mut("exec").and_then(Value::as_object_mut);
        exec.expect("a section")
            .insert("validation".to_owned(), json!({"enabled": false}));
    });
    let broker = Broker::start(home);
    let code = "import os, socket, json\nstatus = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)\n\
        try:\n    open('/usr/x', 'w')\n    root = 'written'\nexcept OSError: root = 'read-only'\n\
        try:\n    socket.create_connection(('1.1.1.1', 80), 2)\n    net = 'open'\nexcept OSError: net = 'closed'\n\
        print(json.dumps({'uid': os.getuid(), 'caps': status['CapBnd'].strip('0'), 'nnp': status['NoNewPrivs'],\n\
        'seccomp': status['Seccomp'], 'root': root, 'net': net, 'sockets': sorted(os.listdir('/run/rumi')),\n\
        'env': sorted(os.environ), 'ifs': sorted(os.listdir('/sys/class/net'))}))";
    let output = broker.packctl(&["-o", "json", "exec", "-c", code]);
    let reply: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let said: Value =
        serde_json::from_str(reply["stdout"].as_str().expect("text")).expect("what the code saw");
    assert!(said["uid"].as_u64().expect("a number") >= 200_000, "{said}");
    assert_eq!(said["caps"], "", "{said}");
    assert_eq!((&said["nnp"], &said["seccomp"]), (&json!("1"), &json!("2")));
    assert_eq!(
        (&said["root"], &said["net"]),
        (&json!("read-only"), &json!("closed"))
    );
    assert_eq!(said["ifs"], json!(["lo"]));
    let sockets = said["sockets"].as_array().expect("a list");
    let ends = |name: &Value| name.as_str().is_some_and(|name| name.ends_with(".sock"));
    assert_eq!(
        sockets.iter().filter(|name| ends(name)).count(),
        1,
        "{said}"
    );
    let secret = |name: &Value| name.as_str().is_some_and(|name| name.contains("PROXY"));
    assert!(!said["env"].as_array().expect("a list").iter().any(secret));
}
