//! `runtime` in docker/config.json: what the engine runs containers under.

use std::process::Command;

use rumi_tests::{Broker, Home, run};
use serde_json::json;

/// The engine has the same program under these names from its installation on.
const NAMES: [&str; 2] = ["runc", "io.containerd.runc.v2"];

/// What the engine says a container runs under.
fn runtime_of(container: &str) -> String {
    let format = "{{.HostConfig.Runtime}}";
    let inspect = ["inspect", "--format", format, container];
    let said = run(Command::new("docker").args(inspect));
    said.stdout.trim().to_owned()
}

#[test]
fn packs_and_commands_run_under_the_runtime_that_is_named_and_the_doctor_says_which() {
    let home = Home::new();
    home.configure(|config| config["runtime"] = json!(NAMES[1]));
    home.write_pack("one", "def run(args):\n    return args\n");
    let work = home.data("work");
    let granted = json!({"terminal": {
        "enabled": true, "directories": [work], "allowed_commands": ["sleep"]
    }});
    home.grant("one:tool:run", &granted);
    let mut broker = Broker::start(home);
    broker.up(&["one"]);
    assert_eq!(broker.call("one:tool:run", &json!({"a": 1})).data()["a"], 1);
    let [pack] = broker.containers().try_into().expect("one container");
    assert_eq!(runtime_of(&pack), NAMES[1]);
    let doctor = broker.packctl(&["doctor"]).stdout;
    for says in [
        "containers run under `io.containerd.runc.v2`",
        "`one` runs under `io.containerd.runc.v2`",
    ] {
        assert!(doctor.contains(says), "{doctor}");
    }
    let peer = broker.component("one:tool:run");
    let directory = work.clone();
    let running = std::thread::spawn(move || {
        peer.json(
            "TerminalRun",
            &json!({"argv": ["sleep", "300"], "directory": directory}),
        )
    });
    rumi_tests::eventually("the command has its container", || {
        let sandboxes = broker.containers().into_iter();
        let mut sandboxes = sandboxes.filter(|container| *container != pack);
        sandboxes.any(|container| runtime_of(&container) == NAMES[1])
    });
    broker.ungrant("one:tool:run");
    running.join().expect("answered");

    // What was started before goes on as it was, and nobody takes it for something else.
    broker.stop();
    broker
        .home()
        .configure(|config| config["runtime"] = json!(NAMES[0]));
    broker.launch();
    broker.packctl(&["doctor"]).exits(1).says(&[
        "`one` runs under `io.containerd.runc.v2`, and what is started now under `runc`",
        "packctl down one && packctl up one",
    ]);
    broker.must(&["down", "one"]);
    broker.up(&["one"]);
    let [pack] = broker.containers().try_into().expect("one container");
    assert_eq!(runtime_of(&pack), NAMES[0]);
}
