//! When images are built, and what a build that fails says.

use std::{
    fs::{self, File},
    time::{Duration, Instant, SystemTime},
};

use rumi_tests::{Broker, Home};
use serde_json::json;

fn image(broker: &Broker, pack: &str) -> String {
    let built = broker.must(&["build", pack, "--yes", "-o", "json"]).json();
    built[0]["image"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_is_built_again_only_when_its_content_changed() {
    let broker = Broker::start(Home::new());
    let code = broker.home().pack("probe").join("probe.py");
    let first = image(&broker, "probe");
    assert!(first.starts_with("sha256:"), "{first}");

    let again = Instant::now();
    let built = broker.must(&["build", "probe", "-o", "json"]).json();
    rumi_tests::in_time(again, Duration::from_secs(1));
    assert_eq!(
        (&built[0]["state"], &built[0]["image"]),
        (&json!("unchanged"), &json!(first))
    );

    let later = SystemTime::now() + Duration::from_secs(60);
    File::options()
        .append(true)
        .open(&code)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(image(&broker, "probe"), first, "after a touch");

    let good = fs::read(&code).unwrap();
    fs::write(&code, [&good[..], b"#"].concat()).unwrap();
    let other = image(&broker, "probe");
    assert_ne!(other, first, "after one byte");
    fs::write(&code, &good).unwrap();
    assert_ne!(image(&broker, "probe"), other, "after it was taken back");

    let before = image(&broker, "probe");
    broker.home().write_file("docker/packs/probe/more.txt", "");
    assert_ne!(image(&broker, "probe"), before, "after a new file");
}

#[test]
fn up_puts_changed_code_into_force_and_leaves_what_is_unchanged() {
    let broker = Broker::start(Home::new());
    let home = broker.home();
    home.write_pack("changing", "def run(args):\n    return 1\n");
    let up = || {
        broker
            .must(&["up", "changing", "--yes", "-o", "json"])
            .json()[0]
            .clone()
    };
    let first = up();
    assert_eq!(
        broker.call("changing:tool:run", &json!({})).data(),
        &json!(1)
    );
    let same = up();
    assert_eq!(
        (&same["state"], &same["container"]),
        (&json!("up already"), &first["container"])
    );
    home.write_file(
        "docker/packs/changing/tool.py",
        "def run(args):\n    return 2\n",
    );
    let second = up();
    assert_ne!(second["container"], first["container"]);
    assert_eq!(
        broker.call("changing:tool:run", &json!({})).data(),
        &json!(2)
    );
    assert_eq!(broker.containers().len(), 1);
}

#[test]
fn a_failing_build_shows_its_last_lines_and_leaves_the_running_pack_alone() {
    let broker = Broker::start(Home::new());
    let home = broker.home();
    home.write_pack("failing", "def run(args):\n    return 1\n");
    broker.up(&["failing"]);
    let containers = broker.containers();
    home.write_file(
        "docker/packs/failing/Dockerfile",
        "FROM rumi-base\nRUN for n in $(seq 1 50); do echo \"step $n\"; done; echo the last word; exit 7\n",
    );
    for verb in ["build", "up"] {
        let ended = broker.packctl(&[verb, "failing", "--yes"]).exits(1).says(&[
            "pack `failing`",
            "step 50",
            "the last word",
            "hint: ",
        ]);
        let shown = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("  | "))
            .count();
        assert!(
            (2..=20).contains(&shown),
            "{shown} lines:\n{}",
            ended.text()
        );
    }
    assert_eq!(broker.containers(), containers);
    assert_eq!(
        broker.call("failing:tool:run", &json!({})).data(),
        &json!(1)
    );
    let answer = broker
        .packctl(&["build", "failing", "--yes", "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(answer[0]["state"], "failed");
    // A Dockerfile that is put right builds, in spite of what failed before.
    home.write_file(
        "docker/packs/failing/Dockerfile",
        "FROM rumi-base\nRUN true\n",
    );
    broker.up(&["failing"]);
    assert_eq!(
        broker.call("failing:tool:run", &json!({})).data(),
        &json!(1)
    );
}

#[test]
fn a_dockerfile_that_would_fetch_something_is_refused_with_its_line() {
    let broker = Broker::start(Home::new());
    let home = broker.home();
    home.write_pack("fetching", "def run(args):\n    return 1\n");
    for (text, says) in [
        ("FROM debian\n", "line 1"),
        ("FROM rumi-base\nADD http://example.org/x /x\n", "line 2"),
        ("FROM rumi-base\nCOPY --from=debian /etc /x\n", "line 2"),
        ("FROM rumi-base\n\nFETCH x\n", "line 3"),
    ] {
        home.write_file("docker/packs/fetching/Dockerfile", text);
        let ended = broker.packctl(&["build", "fetching"]).exits(1);
        ended.says(&["packs/fetching/Dockerfile", says, "hint: "]);
    }
    // And one that has the commands do it finds no network.
    home.write_file(
        "docker/packs/fetching/Dockerfile",
        "FROM rumi-base\nRUN python3.11 -c \"import socket; socket.create_connection(('192.0.2.1', 80), 3)\"\n",
    );
    broker
        .packctl(&["build", "fetching", "--yes"])
        .exits(1)
        .says(&["Network is unreachable"]);
}
