//! kill -9 of the broker, again and again, under load.

use std::{
    collections::HashSet,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, Output, eventually, within};
use serde_json::json;

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
    let mut broker = with_probe();
    let containers = containers(&broker);
    assert_eq!(containers.len(), 1);
    let component = broker.as_component("probe:tool:do");
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
        broker.kill9();
        broker.launch();
    }
    load.kill().unwrap();
    let output = load.wait_with_output().unwrap();
    let acknowledged: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(
        acknowledged.len() > 200,
        "too little load: {}",
        acknowledged.len()
    );
    let recorded: HashSet<String> = broker
        .audit()
        .iter()
        .filter(|record| record["phase"] == "decision")
        .filter_map(|record| record["id"].as_str().map(str::to_owned))
        .collect();
    // The last line may have been cut when the load was ended.
    let whole = acknowledged.iter().filter(|id| id.len() == 16);
    let lost: Vec<_> = whole.filter(|id| !recorded.contains(*id)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    broker.packctl(&["audit", "verify"]).ok();
    assert_eq!(
        self::containers(&broker),
        containers,
        "the pack was started anew"
    );
    eventually("the pack to answer again", || answers(&broker));
}

#[test]
fn a_call_under_way_ends_with_a_defined_error_within_two_seconds_of_a_kill() {
    let mut broker = with_probe();
    let before = containers(&broker);
    let (ended, took) = std::thread::scope(|scope| {
        let home = broker.home();
        let call = scope.spawn(move || {
            let args = r#"{"op":"sleep","args":[15]}"#;
            let ended = home.packctl(&["call", "probe:tool:do", "--args", args]);
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
    ended.exits(5).says(&["broker"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    broker.kill9();
    broker.launch();
    assert_eq!(containers(&broker), before);
    // What the call left running was ended by the broker that came after.
    eventually("the pack to answer again", || answers(&broker));
}

#[test]
fn a_container_removed_behind_the_brokers_back_leaves_ps_within_a_second() {
    let broker = with_probe();
    let container = containers(&broker).pop().unwrap();
    Output::of(Command::new("docker").args(["rm", "--force", &container])).ok();
    within(
        Duration::from_secs(1),
        "the pack to be shown as gone",
        || {
            broker
                .ps()
                .iter()
                .all(|pack| pack.container_id != container)
        },
    );
    broker.up(&["probe"]);
    assert!(answers(&broker));
}

fn with_probe() -> Broker {
    let home = Home::new();
    home.take_pack("tests/packs/probe");
    let broker = Broker::start(home);
    broker.up(&["probe"]);
    broker
}

fn answers(broker: &Broker) -> bool {
    let called = broker.try_call(
        "probe:tool:do",
        &json!({"op": "echo", "args": [7]}).to_string(),
        0,
    );
    called.is_ok_and(|called| called.result["ok"] == true)
}

/// Identifiers of the broker's containers, as the engine lists them.
fn containers(broker: &Broker) -> Vec<String> {
    let label = format!("label=rumi.instance={}", broker.home().instance());
    let listed = Output::of(Command::new("docker").args([
        "ps",
        "--all",
        "--no-trunc",
        "--format",
        "{{.ID}}",
        "--filter",
        &label,
    ]));
    listed.ok().stdout.lines().map(str::to_owned).collect()
}
