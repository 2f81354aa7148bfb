//! Components of kind `service`: they run for as long as their pack.

use std::time::Instant;

use rumi_proto::v1::{ComponentStatus, ServiceStatus};
use rumi_tests::{Broker, Home, eventually};
use serde_json::{Value, json};

const BOT: &str = "bots:service:bot";
const TOOL: &str = "bots:tool:run";

/// Says how often it was started and what it was given, reads the file of the grant again and
/// again, and fails when that says so.
const SOURCE: &str = r#"
import sys, time
import rumi
from beside import NAME

print("a line of", NAME, "on stdout", flush=True)
print("a line on stderr", file=sys.stderr)
while True:
    try:
        order = rumi.read_file(ORDERS).decode().strip()
    except rumi.Denied as error:
        order = "refused " + error.reason
    except (rumi.Error, OSError):
        order = "nobody there"
    print("order:", order, flush=True)
    if order == "fail":
        raise SystemExit(7)
    time.sleep(0.1)
"#;

/// A broker with such a service in a directory of its own name.
fn start(place: &str) -> Broker {
    let home = Home::new();
    home.write_pack("bots", "def run(args):\n    return args\n");
    let orders = home.file("orders/orders", "go on");
    let source = SOURCE.replace("ORDERS", &format!("{:?}", orders.to_str().unwrap()));
    let file = |name: &str| format!("docker/packs/bots/{place}/{name}");
    home.write_file(&file("main.py"), &source);
    home.write_file(&file("beside.py"), "NAME = 'the bot'\n");
    let mut manifest = Home::manifest("bots");
    let mut bot = manifest["components"][0].clone();
    bot["id"] = json!(BOT);
    bot["entry"] = json!(format!("{place}/main.py"));
    manifest["components"].as_array_mut().unwrap().push(bot);
    home.write_manifest("bots", &manifest);
    Broker::start(home)
}

fn component(broker: &Broker) -> ComponentStatus {
    let packs = broker.ps();
    let pack = packs.iter().find(|pack| pack.pack == "bots").unwrap();
    let found = pack.components.iter().find(|c| c.component_id == BOT);
    found.unwrap().clone()
}

fn service(broker: &Broker) -> ServiceStatus {
    component(broker).service.unwrap_or_default()
}

/// The lines of the service, as `packctl logs` tells them apart.
fn lines(broker: &Broker) -> Vec<String> {
    let logs = broker.must(&["logs", "bots", "-n", "1000", "-o", "json"]);
    let lines: Vec<Value> = serde_json::from_str(&logs.stdout).unwrap();
    lines
        .iter()
        .filter(|line| line["component"] == BOT)
        .map(|line| line["line"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_service_runs_with_its_pack_and_is_started_again_when_it_ends() {
    let broker = start("again");
    broker.up(&["bots"]);
    eventually("it runs", || service(&broker).running);
    assert_eq!(service(&broker).starts, 1);
    assert_eq!(component(&broker).spares, 0);
    for line in [
        "a line of the bot on stdout",
        "a line on stderr",
        "order: refused no_grant",
    ] {
        eventually(line, || lines(&broker).iter().any(|seen| seen == line));
    }
    // It asks as itself, and what it is granted reaches it while it runs.
    let orders = broker.home().data("orders");
    let reads = json!({"file_read": {"enabled": true, "directories": [orders]}});
    broker.grant(BOT, &reads);
    eventually("it reads", || {
        lines(&broker).contains(&"order: go on".to_owned())
    });
    // The tool beside it is called as ever, and the service is not.
    assert_eq!(broker.call(TOOL, &json!({"a": 1})).data()["a"], 1);
    let refused = broker.packctl(&["call", BOT]);
    assert!(
        refused.code != 0 && refused.stderr.contains("service"),
        "{refused:?}"
    );

    broker.home().file("orders/orders", "fail");
    eventually("it ended", || {
        service(&broker).ended.contains("exit status: 7")
    });
    broker.home().file("orders/orders", "go on");
    eventually("it runs again", || {
        let now = service(&broker);
        now.running && now.starts >= 2
    });
    let table = broker.must(&["ps"]).stdout;
    assert!(table.contains("runs, start "), "{table}");
}

#[test]
fn down_ends_a_service_and_a_broker_that_comes_back_leaves_it_alone() {
    let mut broker = start("down");
    broker.up(&["bots"]);
    eventually("it runs", || service(&broker).running);
    let before = processes();
    assert_eq!(before.len(), 1, "{before:?}");
    broker.restart();
    eventually("it is known again", || service(&broker).running);
    assert_eq!((processes(), service(&broker).starts), (before, 1));
    let began = Instant::now();
    broker.must(&["down", "bots"]);
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(processes(), [0; 0]);
}

/// Processes of the service of that test.
fn processes() -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.is_ok_and(|line| {
                line.contains("rumi_service.py") && line.contains("/down/main.py")
            })
        })
        .collect()
}
