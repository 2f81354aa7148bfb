//! SIGTERM ends the broker; what it guards goes on.

use std::time::Duration;

use rumi_tests::{Broker, Home, eventually};
use serde_json::json;

#[test]
fn sigterm_ends_the_broker_within_three_seconds_and_containers_go_on() {
    let mut broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let containers = broker.containers();
    assert_eq!(containers.len(), 1);
    // A follower of the log is a stream that would stay open for ever.
    let mut follower = std::process::Command::new(rumi_tests::binary("packctl"));
    let mut follower = broker
        .home()
        .placed(&mut follower)
        .args(["logs", "probe", "--follow"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // And a call that would outlive the broker.
    let took = std::thread::scope(|scope| {
        let fixture = broker.home();
        let call = scope.spawn(|| {
            fixture.packctl(&[
                "call",
                "probe:tool:do",
                "--args",
                r#"{"op":"sleep","args":[20]}"#,
            ])
        });
        std::thread::sleep(Duration::from_millis(1500));
        let pid = rustix::process::Pid::from_raw(i32::try_from(broker.pid()).unwrap()).unwrap();
        let asked = std::time::Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = call.join().unwrap();
        assert_ne!(ended.code, 0, "{ended:?}");
        asked.elapsed()
    });
    assert!(took < Duration::from_secs(3), "the call hung for {took:?}");
    let took = took + broker.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    follower.wait().unwrap();
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(
        !broker.home().run().join("control.sock").exists(),
        "a dead socket is left"
    );
    broker.verify().ok();
    assert_eq!(broker.containers(), containers);
    let running = std::process::Command::new("docker")
        .args(["inspect", "--format", "{{.State.Running}}", &containers[0]])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&running.stdout).trim(), "true");
    broker
        .packctl(&["ps"])
        .exits(5)
        .says(&["hint: start it as root: "]);
    broker.launch();
    eventually("the pack to answer again", || {
        broker
            .try_call(
                "probe:tool:do",
                &json!({"op": "echo", "args": [7]}).to_string(),
                0,
            )
            .is_ok_and(|called| called.result["ok"] == true)
    });
    assert_eq!(broker.containers(), containers);
    broker.verify().ok();
}
