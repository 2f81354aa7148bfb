//! Ad-hoc code: what it answers, what goes in and out, and that nothing of it remains.

use std::{fs, sync::OnceLock, time::Duration};

use rumi_proto::v1::{self, exec_request::What};
use rumi_tests::{Broker, Home, eventually, wait_for};
use serde_json::{Value, json};

/// One broker for all tests here; its runs need no pack.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| patient(900_000))
}

/// Runs code and gives what packctl says of it as JSON.
#[track_caller]
fn run(words: &[&str]) -> Value {
    let mut all = vec!["-o", "json", "exec"];
    all.extend(words);
    let output = broker().packctl(&all);
    serde_json::from_str(&output.stdout).expect("a reply in JSON")
}

#[test]
fn code_runs_and_the_reply_says_all_about_it() {
    let reply = run(&["-c", "import sys\nprint(1)\nprint('e', file=sys.stderr)"]);
    assert_eq!(reply["exit_code"], 0, "{reply}");
    assert_eq!(reply["stdout"], "1\n");
    assert_eq!(reply["stderr"], "e\n");
    assert_eq!(reply["language"], "python");
    assert_eq!(reply["truncated"], false);
    assert_eq!(reply["stopped_reason"], Value::Null);
    assert_eq!(reply["error"], Value::Null);
    assert!(reply["memory_peak_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(reply["cpu_time_ms"].as_u64().unwrap() > 0);
    let records = broker().records_of(reply["record"].as_str().unwrap());
    assert_eq!(records[0]["action"], "exec", "{records:?}");
    assert_eq!(records[0]["detail"]["language"], "python");
}

#[test]
fn packctl_passes_on_what_the_code_prints_and_whether_it_failed() {
    let output = broker().packctl(&["exec", "-c", "print('out')"]);
    assert_eq!((output.stdout.as_str(), output.code), ("out\n", 0));
    let code = "import sys\nprint('why', file=sys.stderr)\nsys.exit(3)";
    let output = broker().packctl(&["exec", "-c", code]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("why") && output.stderr.contains("exit code 3"));
}

#[test]
fn a_bare_string_is_enough_over_the_control_socket() {
    let reply = broker().block_on(async {
        let request = v1::ExecRequest {
            what: Some(What::Bare("print(6 * 7)".to_owned())),
        };
        let mut control = broker().control().await.expect("control");
        control.exec(request).await.expect("exec").into_inner()
    });
    assert_eq!(&reply.stdout[..], b"42\n");
    assert_eq!(reply.exit_code, Some(0));
}

#[test]
fn code_comes_from_a_file_or_from_standard_input() {
    let path = broker().home().file("code.js", "console.log(1 + 1)");
    let reply = run(&[path.to_str().unwrap()]);
    assert_eq!(reply["stdout"], "2\n", "{reply}");
    assert_eq!(reply["language"], "javascript");
    let output = broker().home().packctl_fed(&["exec", "-"], "print('fed')");
    assert_eq!(output.stdout, "fed\n", "{output:?}");
}

#[test]
fn files_go_in_and_come_out() {
    let given = broker().home().file("given.csv", "1,2\n");
    let out = broker().home().base().join("out");
    let code = "import os\nt = open('in/data.csv').read()\nos.mkdir('d')\n\
                open('d/two.txt', 'w').write(t * 2)\nopen('same.csv')\n\
                os.symlink('/etc/passwd', 'link')";
    let reply = run(&[
        "--file",
        &format!("in/data.csv={}", given.display()),
        "--file",
        &format!("same.csv={}", given.display()),
        "--out",
        out.to_str().unwrap(),
        "-c",
        code,
    ]);
    assert_eq!(reply["exit_code"], 0, "{reply}");
    assert_eq!(reply["files"], json!(["d/two.txt"]));
    assert_eq!(reply["files_left_out"], 1);
    assert_eq!(
        fs::read_to_string(out.join("d/two.txt")).unwrap(),
        "1,2\n1,2\n"
    );
    assert!(!out.join("link").exists() && !out.join("main.py").exists());
}

#[test]
fn files_come_out_of_a_run_that_was_stopped() {
    let out = broker().home().base().join("out-of-stopped");
    let code = "open('half.txt', 'w').write('half')\nwhile True: pass";
    let words = ["--time", "1", "--out", out.to_str().unwrap(), "-c", code];
    let reply = run(&words);
    assert_eq!(reply["stopped_reason"], "timeout", "{reply}");
    assert_eq!(fs::read_to_string(out.join("half.txt")).unwrap(), "half");
}

#[test]
fn no_two_runs_share_a_container_or_an_identity() {
    let code = "import os\nprint(os.environ['RUMI_COMPONENT'], os.listdir('.'), os.listdir('/tmp'))\n\
                open('/tmp/left', 'w').write('x')\nopen('left', 'w').write('x')";
    let replies = [run(&["-c", code]), run(&["-c", code]), run(&["-c", code])];
    let mut seen = std::collections::BTreeSet::new();
    for reply in &replies {
        let said = reply["stdout"].as_str().unwrap();
        assert!(said.ends_with("['main.py'] []\n"), "{reply}");
        assert!(seen.insert(said.to_owned()), "{said}");
        assert!(seen.insert(reply["container_id"].to_string()));
    }
}

#[test]
fn a_container_is_gone_soon_after_its_run() {
    let reply = run(&["-c", "print(1)"]);
    let container = reply["container_id"].as_str().unwrap();
    eventually("the container is gone", || {
        !broker().containers().iter().any(|id| id == container)
    });
}

#[test]
fn the_record_of_executions_has_one_line_a_run() {
    let reply = run(&["-c", "import sys; sys.exit(7)"]);
    let log = fs::read_to_string(broker().home().state().join("log/executions.jsonl")).unwrap();
    let line = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|line| line["container_id"] == reply["container_id"])
        .expect("a line");
    assert_eq!(line["exit_code"], 7, "{line}");
    assert_eq!(line["argv"], json!(["/usr/bin/python3", "main.py"]));
    for key in [
        "timestamp",
        "duration_ms",
        "truncated",
        "stopped_reason",
        "error",
        "findings",
    ] {
        assert!(line.get(key).is_some(), "{key}: {line}");
    }
}

#[test]
fn what_is_out_of_bounds_is_refused_with_a_remedy() {
    let long = "#".repeat(100_001);
    let cases: [(&[&str], &str); 5] = [
        (&["--lang", "perl", "-c", "1"], "`perl` is not a language"),
        (&["--time", "301", "-c", "1"], "301"),
        (&["--memory", "15", "-c", "1"], "15"),
        (&["--file", "../x=/etc/hostname", "-c", "1"], "`../x`"),
        (
            &[
                "--file",
                "main.py=/etc/hostname",
                "--lang",
                "python",
                "-c",
                "1",
            ],
            "`main.py`",
        ),
    ];
    for (words, named) in cases {
        let mut all = vec!["exec"];
        all.extend(words);
        let output = broker().packctl(&all);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(named), "{output:?}");
    }
    let output = broker().home().packctl_fed(&["exec", "-"], &long);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("exec.max_code"), "{output:?}");
}

/// A broker of a test's own, whose containers wait for so long.
fn patient(idle_ms: u64) -> Broker {
    let home = Home::new();
    home.configure(|config| {
        let exec = config.get_mut("exec").and_then(Value::as_object_mut);
        let exec = exec.expect("a section");
        exec.insert("validation".to_owned(), json!({"enabled": false}));
        exec.insert("idle_ms".to_owned(), json!(idle_ms));
    });
    Broker::start(home)
}

#[test]
fn containers_that_wait_are_removed_when_nobody_needs_them() {
    let broker = patient(3000);
    assert!(broker.containers().is_empty(), "none before the first run");
    broker.must(&["exec", "-c", "print(1)"]);
    eventually("one waits", || !broker.containers().is_empty());
    let limit = Duration::from_secs(60);
    wait_for("none waits", limit, || broker.containers().is_empty());
    broker.must(&["exec", "-c", "print(1)"]);
}

#[test]
fn what_a_broker_left_is_removed_by_the_next() {
    let mut broker = patient(900_000);
    broker.must(&["exec", "-c", "print(1)"]);
    let limit = Duration::from_secs(60);
    wait_for("two wait", limit, || broker.containers().len() == 2);
    let left = broker.containers();
    broker.restart();
    let now = broker.containers();
    assert!(!left.iter().any(|id| now.contains(id)), "{left:?} {now:?}");
}

#[test]
fn a_session_keeps_its_files_and_none_of_its_processes() {
    broker().must(&["session", "new", "talk"]);
    let within = |code: &str| {
        let words = ["-o", "json", "session", "exec", "talk", "-c", code];
        let output = broker().packctl(&words);
        serde_json::from_str::<Value>(&output.stdout).expect("a reply in JSON")
    };
    let first = within(
        "import os\nopen('kept', 'w').write('1')\nopen('/tmp/too', 'w').write('2')\n\
         if os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(600)",
    );
    assert_eq!(first["exit_code"], 0, "{first}");
    let second = within(
        "import os\nprint(open('kept').read() + open('/tmp/too').read())\n\
         def line(p):\n    try:\n        return open(f'/proc/{p}/cmdline', 'rb').read()\n    except OSError:\n        return b''\n\
         print([p for p in os.listdir('/proc') if p.isdigit() and b'main.py' in line(p) and int(p) != os.getpid()])",
    );
    assert_eq!(second["stdout"], "12\n[]\n", "{second}");
    assert_eq!(first["container_id"], second["container_id"]);
    let taken = broker().packctl(&["session", "new", "talk"]);
    assert!(taken.code == 1 && taken.stderr.contains("`talk` is open already"));
    let listed = broker().must(&["-o", "json", "session", "ls"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let all = listed.as_array().expect("a list");
    let talk = all.iter().find(|row| row["session"] == "talk");
    assert_eq!(talk.expect("it is open")["calls"], 2);
    broker().must(&["session", "rm", "talk"]);
    let gone = broker().packctl(&["session", "exec", "talk", "-c", "1"]);
    assert!(
        gone.code == 4 && gone.stderr.contains("no session `talk`"),
        "{gone:?}"
    );
    assert_eq!(broker().packctl(&["session", "rm", "talk"]).code, 4);
    assert_eq!(broker().packctl(&["session", "new", "No Name"]).code, 2);
}

#[test]
fn a_session_runs_one_call_at_a_time() {
    broker().must(&["session", "new", "one"]);
    std::thread::scope(|scope| {
        let slow = "import time\ntime.sleep(600)";
        let words = ["session", "exec", "one", "--time", "15", "-c", slow];
        let long = scope.spawn(move || broker().packctl(&words));
        // A second that came first would have the first refused.
        eventually("the first runs", || {
            let listed = broker().must(&["session", "ls"]).stdout;
            let mut lines = listed.lines();
            lines.any(|line| line.starts_with("one ") && line.contains("running"))
        });
        let second = broker().packctl(&["session", "exec", "one", "-c", "1"]);
        assert_eq!(second.code, 1, "{second:?}");
        assert!(second.stderr.contains("is running"), "{second:?}");
        assert!(
            long.join()
                .expect("a thread")
                .stderr
                .contains("time was up")
        );
    });
    broker().must(&["session", "rm", "one"]);
}

const READS: &str = "import rumi\nprint(rumi.read_file(PATH))";

#[test]
fn a_run_may_what_its_grant_says_and_nothing_without_one() {
    let path = broker().home().file("granted/note.txt", "noted");
    let code = READS.replace("PATH", &format!("{:?}", path.display().to_string()));
    let refused = run(&["-c", &code]);
    assert_eq!(refused["exit_code"], 1, "{refused}");
    assert_eq!(refused["denials"][0]["reason"], "no_grant");
    let remedy = refused["denials"][0]["remedy"].as_str().expect("text");
    assert!(remedy.starts_with("packctl grant add exec:tool:run file_read "));
    let directory = path.parent().expect("a parent").display().to_string();
    let grant = json!({"component_id": "any:tool:thing", "permissions": {
        "file_read": {"enabled": true, "directories": [directory]}}});
    let file = broker().home().file("grant.json", grant.to_string());
    let file = file.to_str().expect("text");
    let allowed = run(&["--grant", file, "-c", &code]);
    assert_eq!(allowed["exit_code"], 0, "{allowed}");
    assert!(allowed["stdout"].as_str().expect("text").contains("noted"));
    // It was that run's, and is gone with it.
    let policy = broker().policy();
    assert_eq!(run(&["-c", &code])["denials"][0]["reason"], "no_grant");
    assert_eq!(broker().policy(), policy);
    let wrong = broker().home().file(
        "wrong.json",
        r#"{"component_id": "a:tool:b", "permissions": {"x y": {}}}"#,
    );
    let output = broker().packctl(&["exec", "--grant", wrong.to_str().expect("text"), "-c", "1"]);
    assert!(
        output.code == 2 && output.stderr.contains("grant"),
        "{output:?}"
    );
}

#[test]
fn the_network_must_be_asked_for_and_granted() {
    let output = broker().packctl(&["exec", "--network", "-c", "1"]);
    assert!(
        output.code == 2 && output.stderr.contains("--grant"),
        "{output:?}"
    );
    let grant = json!({"component_id": "any:tool:thing", "permissions": {
        "network": {"enabled": true, "allowed_domains": ["rumi.invalid"], "allowed_ports": [80]}}});
    let file = broker().home().file("network.json", grant.to_string());
    let file = file.to_str().expect("text");
    let code = "import os, urllib.request\nprint('HTTP_PROXY' in os.environ)\n\
                urllib.request.urlopen('http://rumi.invalid/')";
    // Granted and asked for, the request goes as far as a name that nobody has.
    let asked = run(&["--network", "--grant", file, "-c", code]);
    assert!(
        asked["stdout"].as_str().expect("text").starts_with("True"),
        "{asked}"
    );
    assert_eq!(asked["denials"], json!([]), "{asked}");
    // Granted and not asked for, it is not there, whatever the code knows of sockets.
    let code =
        "import rumi, os\nprint('HTTP_PROXY' in os.environ)\nrumi.fetch('http://rumi.invalid/')";
    let silent = run(&["--grant", file, "-c", code]);
    assert!(
        silent["stdout"]
            .as_str()
            .expect("text")
            .starts_with("False"),
        "{silent}"
    );
    assert_ne!(silent["exit_code"], 0);
}

#[test]
fn credentials_are_in_the_environment_and_nowhere_else() {
    let home = broker().home();
    let value = "s3cr3t-of-the-run-0123456789";
    home.packctl_fed(&["secret", "set", "RUN_KEY"], value).ok();
    let words = ["--credential", "API_KEY=RUN_KEY", "-c"];
    let code = "import os, sys\nk = os.environ['API_KEY']\nprint(len(k))\n\
                for c in k:\n    sys.stdout.write(c)\n    sys.stdout.flush()\n\
                sys.stderr.write('x' + k + 'y')\nopen('leak.txt', 'w').write(k)\n\
                raise ValueError(k)";
    let refused = broker().packctl(&["exec", words[0], words[1], words[2], code]);
    assert_eq!(refused.code, 3, "its grant says nothing of it: {refused:?}");
    let command = "packctl grant add exec:tool:run env_read RUN_KEY";
    assert!(
        refused.stderr.contains("--grant FILE") && refused.stderr.contains(command),
        "{refused:?}"
    );
    let empty = r#"{"component_id": "any:tool:thing", "permissions": {}}"#;
    let empty = home.file("no-keys.json", empty);
    let empty = ["--grant", empty.to_str().expect("text")];
    let refused = broker().packctl(&["exec", empty[0], empty[1], words[0], words[1], "-c", "1"]);
    assert!(
        refused.code == 3 && refused.stderr.contains("in the grant given by --grant"),
        "{refused:?}"
    );
    let grant = json!({"component_id": "any:tool:thing", "permissions": {
        "env_read": {"enabled": true, "allowed_keys": ["RUN_KEY", "NOT_THERE"]}}});
    let file = home.file("keys.json", grant.to_string());
    let file = file.to_str().expect("text");
    let out = home.base().join("masked");
    let reply = run(&[
        "--grant",
        file,
        "--out",
        out.to_str().expect("text"),
        words[0],
        words[1],
        words[2],
        code,
    ]);
    assert_eq!(
        reply["stdout"],
        format!("{}\n[masked]", value.len()),
        "{reply}"
    );
    assert!(
        reply["stderr"]
            .as_str()
            .expect("text")
            .starts_with("x[masked]y")
    );
    assert!(!reply.to_string().contains(value));
    assert_eq!(
        fs::read_to_string(out.join("leak.txt")).unwrap(),
        "[masked]"
    );
    let logs = fs::read_to_string(home.state().join("log/executions.jsonl")).unwrap();
    assert!(!logs.contains(value) && !broker().log().contains(value));
    assert!(!format!("{:?}", broker().audit()).contains(value));
    let missing = broker().packctl(&[
        "exec",
        "--grant",
        file,
        "--credential",
        "K=NOT_THERE",
        "-c",
        "1",
    ]);
    assert!(
        missing.code != 0 && missing.stderr.contains("NOT_THERE"),
        "{missing:?}"
    );
}

#[test]
fn a_wrong_guess_of_the_language_says_how_to_name_it() {
    let wrong = broker().packctl(&["exec", "-c", "SELECT name\nFROM people WHERE"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(
        wrong.stderr.contains("taken for python") && wrong.stderr.contains("--lang"),
        "{wrong:?}"
    );
    for words in [
        &["exec", "--lang", "python", "-c", "SELECT name FROM"][..],
        &["exec", "-c", "import sys\nsys.exit(3)"],
    ] {
        let output = broker().packctl(words);
        assert!(
            output.code == 1 && !output.stderr.contains("--lang"),
            "{output:?}"
        );
    }
}

#[test]
fn nothing_is_left_of_a_broker_that_stops_while_it_makes_containers_and_runs_code() {
    let mut broker = patient(900_000);
    broker.must(&["session", "new", "kept"]);
    std::thread::scope(|scope| {
        let code = "while True: pass";
        let run = scope.spawn(|| broker.packctl(&["exec", "--time", "299", "-c", code]));
        // It takes the container that waits, and another is made in its place.
        eventually("the run is recorded", || {
            let begun = |record: &Value| record["detail"]["seconds"] == 299;
            broker.audit().iter().any(begun)
        });
        let pid = rustix::process::Pid::from_raw(broker.pid().cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        let output = run.join().expect("a thread");
        assert_ne!(output.code, 0, "{output:?}");
    });
    broker.stop();
    assert!(broker.containers().is_empty(), "{:?}", broker.containers());
}

/// What code sees of itself, whether its interpreter was started ahead of it or not.
const LOOKS: &str = "import sys, os, __main__ as m
print(sys.argv, sys.path[0], m.__name__, os.path.basename(m.__file__), m.__spec__, os.getcwd())
print(sorted(os.listdir('.')), os.path.isfile('main.py'), len(open('main.py').read()) > 100)
print(sys.stdin.read(), len(os.listdir('/proc/self/fd')))
def f(): return 1 / 0
f()
";

#[test]
fn an_interpreter_that_was_started_ahead_runs_code_as_one_that_was_not() {
    let fed = broker().home().file("fed.txt", "fed");
    let data = broker().home().file("given-data.txt", "data");
    let given = format!("data.txt={}", data.display());
    let seen = |first: &str| {
        let code = format!("{first}\n{LOOKS}");
        let stdin = fed.to_str().expect("text");
        let words = ["--stdin", stdin, "--file", &given, "--lang", "python", "-c"];
        let reply = run(&[&words[..], &[&code]].concat());
        ["stdout", "stderr", "exit_code"].map(|key| reply[key].clone())
    };
    // Where it says how it is spelled, it is read by an interpreter that is started for it.
    let plain = seen("# coding: utf-8");
    let ahead = seen("# nothing");
    let [stdout, stderr, _] = &ahead;
    let expected = "['main.py'] /workspace __main__ main.py None /workspace\n\
                    ['data.txt', 'main.py'] True True\nfed ";
    assert!(
        stdout.as_str().expect("text").starts_with(expected),
        "{ahead:?}"
    );
    assert!(
        stderr
            .as_str()
            .expect("text")
            .contains("def f(): return 1 / 0"),
        "{ahead:?}"
    );
    assert_eq!(ahead, plain);
    // More than a pipe holds; spelled otherwise; in the least memory.
    let long = format!("x = '{}'\nprint(len(x))", "y".repeat(90_000));
    assert_eq!(run(&["--lang", "python", "-c", &long])["stdout"], "90000\n");
    let latin = "# coding: latin-1\nprint('\u{e4}' == chr(0xc3) + chr(0xa4))";
    assert_eq!(run(&["--lang", "python", "-c", latin])["stdout"], "True\n");
    let small = run(&["--memory", "16", "-c", "print('small')"]);
    assert_eq!(small["stdout"], "small\n", "{small}");
}

#[test]
fn python_that_names_nothing_special_is_there_before_its_code() {
    let broker = patient(900_000);
    let age = |words: &[&str]| -> f64 {
        let code = "import time\nticks = int(open('/proc/self/stat').read().rsplit(')')[1].split()[19])\n\
                    print(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100)";
        let said = broker.must(&[words, &["exec", "--lang", "python", "-c", code]].concat());
        said.stdout.trim().parse().expect("seconds")
    };
    // The first run has its container made for it; those after it find one that waits.
    age(&[]);
    let limit = Duration::from_secs(60);
    let mut pause = Duration::from_secs(1);
    wait_for("one has waited for a second", limit, || {
        // On a busy machine it takes longer until one is made.
        pause += Duration::from_millis(500);
        std::thread::sleep(pause);
        age(&[]) > 1.0
    });
}
