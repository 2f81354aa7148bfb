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
        "an object that hangs when it goes",
        "class Hangs:\n    def __del__(self):\n        while True: pass\nkept = Hangs()",
        &["timeout"],
    ),
    (
        "a core that is dumped",
        "import os, resource\ntry: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\nexcept (OSError, ValueError): pass\nos.abort()",
        &["killed"],
    ),
    (
        // Before Linux 6.12 no domain forbids it.
        "the death of its keeper",
        "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(100)",
        &["", "killed"],
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
        &["", "timeout"],
    ),
];

/// A broker that runs code without looking it through.
fn broker() -> Broker {
    let home = Home::new();
    home.configure(|config| {
        let exec = config.get_mut("exec").and_then(Value::as_object_mut);
        exec.expect("a section")
            .insert("validation".to_owned(), json!({"enabled": false}));
    });
    Broker::start(home)
}

#[test]
fn whatever_ad_hoc_code_does_ends_at_its_limit_and_the_next_run_answers() {
    let broker = broker();
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

#[test]
fn a_run_signals_and_reads_nothing_but_its_own_processes() {
    let broker = broker();
    // The keeper, the worker and PID 1 have its user. One that ends meanwhile is passed over.
    let code = "import os\n\
                def tried(what):\n    try: what()\n    except PermissionError as e: return e.strerror\n    return 'done'\n\
                for p in map(int, filter(str.isdigit, os.listdir('/proc'))):\n    try:\n        if p == os.getpid() or ') Z ' in open(f'/proc/{p}/stat').read(): continue\n        \
                answers = tried(lambda: os.kill(p, 0)), tried(lambda: open(f'/proc/{p}/mem', 'rb'))\n        print(*answers, sep='; ')\n    \
                except (FileNotFoundError, ProcessLookupError): pass";
    let said = broker.must(&["exec", "-c", code]).stdout;
    assert!(said.lines().count() >= 2, "{said}");
    for line in said.lines() {
        let (signalled, read) = line.split_once("; ").expect("two answers");
        assert_eq!(read, "Permission denied", "{said}");
        if scopes_of_signals() {
            assert_eq!(signalled, "Operation not permitted", "{said}");
        }
    }
}

/// Whether the kernel, 6.12 or later, keeps signals within a domain.
fn scopes_of_signals() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(12))
}

#[test]
fn what_comes_out_of_a_run_is_bounded_however_much_it_left() {
    let broker = broker();
    let base = broker.home().base().to_owned();
    for (number, (what, code)) in [
        ("very many files", "for n in range(15000): open(str(n), 'w').close()"),
        ("files of 48 MB", "for n in range(48): open(str(n), 'wb').write(b'x' * (1 << 20))"),
        ("a file that is nearly all hole", "open('hole', 'wb').truncate(1 << 40)"),
        ("pipes and links", "import os\nfor n in range(50): os.mkfifo(f'p{n}'); os.symlink('/proc/1/root', f'l{n}')"),
        ("a deep tree", "import os\nfor n in range(400):\n    os.mkdir('d')\n    os.chdir('d')\nopen('end', 'w').close()"),
    ]
    .into_iter()
    .enumerate()
    {
        let out = base.join(format!("out-{number}"));
        let words = ["-o", "json", "exec", "--memory", "128", "--time", "60", "--out", out.to_str().expect("a path"), "-c", code];
        let reply: Value = serde_json::from_str(&broker.packctl(&words).stdout).expect("a reply in JSON");
        assert_eq!(reply["stopped_reason"], Value::Null, "{what}: {reply}");
        assert!(reply["files_left_out"].as_u64() > Some(0), "{what}: {reply}");
        let sizes = std::fs::read_dir(&out).expect("a directory").map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len());
        assert!(sizes.sum::<u64>() <= 10 << 20, "{what}");
    }
    // No core either, whatever the host does with those.
    let out = base.join("core");
    let words = [
        "-o",
        "json",
        "exec",
        "--out",
        out.to_str().expect("a path"),
        "-c",
        "import os\nos.abort()",
    ];
    let reply: Value =
        serde_json::from_str(&broker.packctl(&words).stdout).expect("a reply in JSON");
    assert_eq!(
        (&reply["files"], &reply["files_left_out"]),
        (&json!([]), &json!(0)),
        "{reply}"
    );
    assert_eq!(broker.must(&["exec", "-c", "print(1)"]).stdout, "1\n");
}
