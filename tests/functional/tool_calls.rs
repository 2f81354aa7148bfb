//! `packctl call`: many calls at once, what a tool printed, and where the time went.

use std::time::Duration;

use rumi_tests::{Broker, Home, shared};
use serde_json::{Value, json};

/// A tool whose calls end only once so many of them run.
const MEETING: &str = "
import os, time

def run(args):
    os.makedirs('/tmp/met', exist_ok=True)
    open('/tmp/met/%d' % args['me'], 'w').close()
    ends = time.monotonic() + 25
    while len(os.listdir('/tmp/met')) < args['all']:
        if time.monotonic() > ends:
            raise TimeoutError('only %d came' % len(os.listdir('/tmp/met')))
        time.sleep(0.01)
    return args['me']
";

fn lines(stdout: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap();
    stdout.lines().map(parse).collect()
}

fn done(data: &Value) -> Value {
    json!({"ok": true, "data": data})
}

#[test]
fn many_calls_answer_in_the_order_of_their_lines() {
    let broker = shared();
    // The first is the last to end.
    let mut text = String::from("{\"op\": \"sleep\", \"args\": [1]}\n\n");
    for number in 0..12 {
        text.push_str(&json!({"op": "echo", "args": [number]}).to_string());
        text.push('\n');
    }
    let file = broker.home().file("many/in.jsonl", &text);
    let arguments = |format: &'static str| {
        let file = file.to_str().unwrap();
        broker.packctl(&[
            "call",
            "probe:tool:do",
            "--jobs",
            "4",
            "--args-file",
            file,
            "-o",
            format,
        ])
    };
    let expected: Vec<Value> = [done(&Value::Null)]
        .into_iter()
        .chain((0..12).map(|number| done(&json!(number))))
        .collect();
    for format in ["table", "jsonl"] {
        let called = arguments(format).ok().says(&["13 calls in", "13 ok"]);
        assert_eq!(lines(&called.stdout), expected, "{format}");
    }
    assert_eq!(arguments("json").ok().json(), json!(expected));
    let empty = broker.home().packctl_fed(
        &["call", "probe:tool:do", "--args-file", "-", "-o", "json"],
        "\n",
    );
    assert_eq!(empty.ok().json(), json!([]));
}

#[test]
fn jobs_says_how_many_calls_run_at_once() {
    let home = Home::new();
    home.write_pack("meeting", MEETING);
    let broker = Broker::start(home);
    broker.up(&["meeting"]);
    let text: String = (0..3)
        .map(|me| format!("{}\n", json!({"me": me, "all": 3})))
        .collect();
    let call = |more: &[&str]| {
        let arguments = ["call", "meeting:tool:run", "--args-file", "-"];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        broker.home().packctl_fed(&arguments, &text)
    };
    let met = call(&["--jobs", "3"]).ok();
    assert_eq!(lines(&met.stdout), [0, 1, 2].map(|me| done(&json!(me))));
    // One after the other none meets another; the limit is the tool's, well within its own patience.
    let alone = call(&["--timeout", "2s"]).exits(1).says(&["3 failed"]);
    for line in lines(&alone.stdout) {
        assert_eq!(line["error"]["type"], "timeout", "{line}");
    }
}

#[test]
fn what_went_wrong_in_many_calls_is_said_once_and_in_the_exit_code() {
    let broker = shared();
    let call = |more: &[&str], text: &str| {
        let arguments = ["call", "probe:tool:do", "--args-file", "-", "--jobs", "2"];
        let arguments: Vec<&str> = arguments.iter().chain(more).copied().collect();
        broker.home().packctl_fed(&arguments, text)
    };
    let ask = "{\"op\": \"read_file\", \"args\": [\"/srv/many/calls\"]}\n";
    let denied = call(&[], &ask.repeat(3)).exits(3).says(&["3 denied"]);
    assert_eq!(denied.stderr.matches("denied: file_read").count(), 1);
    assert_eq!(
        denied.stderr.matches("remedy: packctl grant add").count(),
        1
    );
    let fails = "{\"op\": \"fail\", \"args\": [\"ValueError\"]}\n";
    let mixed = call(&[], &format!("{ask}{fails}{{\"op\": \"pid\"}}\n"));
    let mixed = mixed.exits(1).says(&["1 ok, 1 failed, 1 denied"]);
    let ok: Vec<Value> = lines(&mixed.stdout)
        .iter()
        .map(|line| line["ok"].clone())
        .collect();
    assert_eq!(ok, [json!(false), json!(false), json!(true)]);
    // Output is shown where it is asked for, with the line it belongs to.
    let says = "{\"op\": \"pid\"}\n{\"op\": \"say\", \"args\": [\"out\", \"err\"]}\n";
    let quiet = call(&[], says).ok();
    assert!(!quiet.stderr.contains("out"), "{}", quiet.stderr);
    call(&["--verbose"], says)
        .ok()
        .says(&["line 2: stdout | out", "line 2: stderr | err"]);
    // A mistake is found before anybody is asked: here there is no broker.
    let bad = ["call", "probe:tool:do", "--args-file", "-"];
    Home::new()
        .packctl_fed(&bad, "{}\n[]\n")
        .exits(2)
        .says(&["line 2 of standard input"]);
    let nobody = ["call", "nobody:tool:x", "--args-file", "-"];
    broker
        .home()
        .packctl_fed(&nobody, "{}\n{}\n")
        .exits(4)
        .says(&["line 1 had no answer; 0 of 2", "packctl init nobody"]);
}

#[test]
fn the_streams_of_a_call_are_shown_apart() {
    let broker = shared();
    let args = json!({"op": "say", "args": ["to out", "to err"]}).to_string();
    let call = |more: &[&str]| {
        let arguments = ["call", "probe:tool:do", "--args", &args];
        broker.must(&arguments.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let verbose = call(&["--verbose"]).says(&["stdout | to out\n", "stderr | to err\n"]);
    assert!(!verbose.stdout.contains("to out"), "{}", verbose.stdout);
    call(&[]).says(&["the tool printed 2 lines; --verbose shows them"]);
}

#[test]
fn a_profile_says_where_the_time_went() {
    let broker = shared();
    let args = json!({"op": "sleep", "args": [1]}).to_string();
    let call = |more: &[&str]| {
        let arguments = ["call", "probe:tool:do", "--args", &args, "--profile"];
        broker.must(&arguments.iter().chain(more).copied().collect::<Vec<_>>())
    };
    call(&[]).says(&[
        "waiting",
        "running",
        "ending",
        "broker",
        "way",
        "total",
        "MiB  at its peak",
    ]);
    let profiled = call(&["-o", "jsonl"]);
    assert_eq!(lines(&profiled.stdout), [done(&Value::Null)]);
    let profile: Value = serde_json::from_str(profiled.stderr.trim()).unwrap();
    let part = |name: &str| profile[name].as_u64().unwrap();
    assert!(part("running_us") >= 1_000_000, "{profile}");
    assert!(part("memory_peak_bytes") > 1 << 20, "{profile}");
    let parts = [
        "waiting_us",
        "running_us",
        "ending_us",
        "broker_us",
        "way_us",
    ];
    let sum: u64 = parts.map(part).iter().sum();
    assert_eq!(sum, part("total_us"), "{profile}");
    // Of many calls: how long most of them took.
    let file = broker
        .home()
        .file("profile/in.jsonl", "{\"op\": \"pid\"}\n".repeat(5));
    let many = [
        "call",
        "probe:tool:do",
        "--profile",
        "-o",
        "jsonl",
        "--args-file",
    ];
    let many = many.iter().copied().chain([file.to_str().unwrap()]);
    let many = broker.must(&many.collect::<Vec<_>>());
    let spread: Value = serde_json::from_str(many.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(spread["calls"], 5);
    assert!(spread["p50"]["total_us"].as_u64() <= spread["max"]["total_us"].as_u64());
    // Of a call that never began there is nothing to tell but how long it took to say so.
    let refused = [
        "call",
        "probe:tool:do",
        "--profile",
        "-o",
        "jsonl",
        "--args",
        "{\"x\": 1}",
    ];
    let refused = broker.packctl(&refused).exits(1);
    let profile: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(profile["running_us"], 0, "{profile}");
}

const LITTERS: &str = "
import os, tempfile, time

def run(args):
    descriptor, path = tempfile.mkstemp()
    os.write(descriptor, b'x' * (4 << 20))
    time.sleep(0.3)
    return os.path.getsize(path)
";

/// Nine times as much as /tmp holds, by calls of which some always run.
#[test]
fn what_calls_leave_in_tmp_is_deleted_although_others_always_run() {
    let home = Home::new();
    home.write_pack("litters", LITTERS);
    let broker = Broker::start(home);
    broker.up(&["litters"]);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let broker = &broker;
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(100 * number));
                for _ in 0..48 {
                    let called = broker.call("litters:tool:run", &json!({}));
                    assert_eq!(called.data(), &json!(4 << 20));
                }
            });
        }
    });
}
