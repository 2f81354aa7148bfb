//! kill -9 of the broker, again and again, under load.

use std::{
    collections::HashSet,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, wait_for};
use serde_json::{Value, json};

/// Rounds of killing.
const ROUNDS: u64 = 200;

/// Reads one file again and again on the component's socket and prints the id of each answered
/// refusal, which is the id of a decision that the broker acknowledged.
const LOAD: &str = r#"
import http.client, json, socket, sys, time

class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])

end = time.monotonic() + float(sys.argv[2])
connection = None
while time.monotonic() < end:
    try:
        connection = connection or Unix("localhost")
        body = json.dumps({"path": "/nowhere/granted"})
        connection.request("POST", "/rumi.v1.Capabilities/FileRead", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        print(answer["details"][0]["debug"]["record"], flush=True)
    except (OSError, http.client.HTTPException, ValueError):
        connection = None
        time.sleep(0.001)
"#;

#[test]
fn two_hundred_kills_under_load_lose_no_acknowledged_decision_and_no_pack() {
    let mut broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let containers = broker.containers();
    assert_eq!(containers.len(), 1);
    let component = broker.component("probe:tool:do");
    let seconds = 600.0;
    let mut load = Command::new("python3")
        .args(["-I", "-c", LOAD])
        .arg(component.socket())
        .arg(seconds.to_string())
        .uid(component.uid())
        .gid(component.uid())
        .current_dir("/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for round in 0..ROUNDS {
        // A different moment of the load each time, from just after the start on.
        std::thread::sleep(Duration::from_millis(1 + round * 7 % 40));
        broker.restart();
    }
    load.kill().unwrap();
    let output = load.wait_with_output().unwrap();
    let acknowledged: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(acknowledged.len() > 200, "too little load: {}", acknowledged.len());
    let recorded: HashSet<String> = broker
        .audit()
        .iter()
        .filter(|record| record["phase"] == "decision")
        .filter_map(|record| record["id"].as_str().map(str::to_owned))
        .collect();
    // The last line may have been cut when the load was ended.
    let whole = acknowledged.iter().filter(|id| id.len() == 16);
    let lost: Vec<_> = whole.filter(|id| !recorded.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    let verified = broker.verify();
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!(broker.containers(), containers, "the pack was started anew");
    wait_for("a worker that comes back", Duration::from_secs(10), || {
        broker.probe("echo", &json!([1])).result["ok"] == true
    });
}

#[test]
fn a_call_under_way_ends_with_a_defined_error_within_two_seconds_of_a_kill() {
    let mut broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let containers = broker.containers();
    let calling = std::thread::scope(|scope| {
        let home = broker.home();
        let (state, run, path) = (home.state(""), home.run(""), home.path(""));
        let call = scope.spawn(move || {
            let ended = rumi_tests::run(
                Command::new(rumi_tests::binary("packctl"))
                    .args(["call", "probe:tool:do", "--args", r#"{"op":"sleep","args":[15]}"#])
                    .env("RUMI_HOME", path)
                    .env("RUMI_STATE", state)
                    .env("RUMI_RUN", run),
            );
            (ended, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(1500));
        let pid = i32::try_from(broker.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let killed = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let (ended, at) = call.join().unwrap();
        (ended, at.duration_since(killed))
    });
    let (ended, took) = calling;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(!ended.stderr.is_empty());
    assert!(took < Duration::from_secs(2), "{took:?}");
    broker.restart();
    assert_eq!(broker.containers(), containers);
    // What the call left running was ended by the broker that came after.
    wait_for("the pack to answer again", Duration::from_secs(10), || {
        broker.probe("echo", &json!(["again"])).result["ok"] == true
    });
}

#[test]
fn a_container_removed_behind_the_brokers_back_leaves_ps_within_a_second() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let container = broker.containers().pop().unwrap();
    let removed = rumi_tests::run(Command::new("docker").args(["rm", "--force", &container]));
    assert_eq!(removed.code, 0, "{removed:?}");
    wait_for("the pack to be shown as gone", Duration::from_secs(1), || {
        let listed: Value = serde_json::from_str(&broker.must(&["ps", "-o", "json"]).stdout).unwrap();
        !listed.to_string().contains(&container)
    });
    broker.up(&["probe"]);
    assert_eq!(broker.probe("echo", &json!([7])).data(), &json!(7));
}
