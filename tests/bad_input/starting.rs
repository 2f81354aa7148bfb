//! A broker that cannot start says why, and leaves nothing that stands in the way of the next.

use std::{fs, path::Path, process::Command};

use rumi_tests::{Broker, Home, Output, binary, repository};

/// A broker that is expected to end by itself.
fn attempt(home: &Home, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("20").arg(binary("rumi-broker")).args(arguments);
    Output::of(home.placed(&mut command))
}

fn replace(home: &Home, file: &str, from: &str, to: &str) {
    let path = home.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "`{from}` is not in {file}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_broken_configuration_is_named_with_its_line_and_remedy_and_nothing_is_started() {
    let home = Home::new();
    let file = "docker/config.json";
    let shipped = fs::read_to_string(home.path().join(file)).unwrap();
    for (from, to, says) in [
        // Not JSON at all.
        (
            "\"pids\": 100,",
            "\"pids\": 100,,",
            &["line 6", "column"][..],
        ),
        // A key nobody knows, at the top and deeper.
        (
            "\"pids\": 100,",
            "\"pids\": 100, \"pidz\": 1,",
            &["line 6", "`pidz`"],
        ),
        ("\"pack\": {", "\"pakc\": {", &["line 3", "`pakc`"]),
        // A key that stands there twice.
        (
            "\"pids\": 100,",
            "\"pids\": 100, \"pids\": 99,",
            &["line 6", "`pids`"],
        ),
        // Values of a wrong kind or out of range.
        (
            "\"256m\"",
            "\"256 elephants\"",
            &["line 4", "256 elephants"],
        ),
        (
            "\"pids\": 100,",
            "\"pids\": 0,",
            &["line 6", "`0`", "between 8 and"],
        ),
        ("\"pids\": 100,", "\"pids\": \"100\",", &["line 6"]),
        (
            "\"durability\": \"process\"",
            "\"durability\": \"hope\"",
            &["hope", "process", "power"],
        ),
    ] {
        fs::write(home.path().join(file), &shipped).unwrap();
        replace(&home, file, from, to);
        let line = shipped.lines().position(|line| line.contains(from));
        let line = format!("line {},", line.expect("a line of the shipped file") + 1);
        attempt(&home, &[])
            .exits(1)
            .says(&["docker/config.json", "remedy: ", &line])
            .says(says);
        assert!(!home.run().join("control.sock").exists(), "{to}");
    }
    fs::write(home.path().join(file), "").unwrap();
    attempt(&home, &[])
        .exits(1)
        .says(&[file, "line 1", "remedy: "]);
    fs::remove_file(home.path().join(file)).unwrap();
    attempt(&home, &[])
        .exits(1)
        .says(&[file, "cannot read", "remedy: "]);
    // All of that left nothing behind that a good start would stumble over.
    fs::write(home.path().join(file), &shipped).unwrap();
    let broker = Broker::start(home);
    broker.verify().ok();
}

#[test]
fn no_docker_is_named_with_its_socket_and_remedy() {
    let home = Home::new();
    attempt(&home, &["--docker", "/nonexistent.sock"])
        .exits(1)
        .says(&["/nonexistent.sock", "remedy: ", "--docker"]);
    assert!(!home.run().join("control.sock").exists());
    // A file that is no socket, and a socket behind which nobody speaks Docker's language.
    let file = home.file("plain", "text");
    attempt(&home, &["--docker", file.to_str().unwrap()])
        .exits(1)
        .says(&["plain", "remedy: "]);
    let mut doctor = Command::new(binary("packctl"));
    home.placed(&mut doctor).arg("doctor");
    Output::of(doctor.env("RUMI_DOCKER", "/nonexistent.sock"))
        .exits(5)
        .says(&["/nonexistent.sock", "apt-get install docker.io", "hint: "]);
    // With an engine the same directories serve.
    drop(Broker::start(home));
}

#[test]
fn a_runtime_that_the_engine_does_not_have_stops_the_start_and_is_not_replaced() {
    let home = Home::new();
    home.configure(|config| config["runtime"] = "runsc-of-nobody".into());
    attempt(&home, &[]).exits(1).says(&[
        "`runsc-of-nobody`",
        "`runc`",
        "remedy: ",
        "docker/config.json",
    ]);
    assert!(!home.run().join("control.sock").exists());
    home.configure(|config| config["runtime"] = "--privileged".into());
    attempt(&home, &[])
        .exits(1)
        .says(&["`--privileged`", "docker info", "remedy: "]);
    home.configure(|config| config["runtime"] = "runc".into());
    drop(Broker::start(home));
}

#[test]
fn without_root_both_programs_say_so_and_what_helps() {
    let home = Home::new();
    // A copy, because the tree may lie where nobody else may look.
    let broker = home.base().join("rumi-broker");
    fs::copy(binary("rumi-broker"), &broker).unwrap();
    let packctl = home.base().join("packctl");
    fs::copy(binary("packctl"), &packctl).unwrap();
    let nobody = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(program)
            .args(arguments);
        Output::of(home.placed(&mut command))
    };
    nobody(&broker, &[])
        .exits(1)
        .says(&["must run as root", "remedy: sudo"]);
    assert!(!home.state().exists() && !home.run().exists());
    nobody(
        &packctl,
        &["grant", "add", "probe:tool:do", "env_read", "KEY"],
    )
    .exits(1)
    .says(&["grants", "hint: run packctl as root"]);
    assert!(!home.grant_file("probe:tool:do").exists());
    let broker = Broker::start(home);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&packctl)
        .arg("ps");
    Output::of(broker.home().placed(&mut command))
        .exits(5)
        .says(&["control.sock", "hint: run packctl as root"]);
}

#[test]
fn a_second_broker_on_the_same_state_is_refused_and_the_first_goes_on() {
    let broker = Broker::start(Home::new());
    let state = broker.home().state();
    let before = broker.status().unwrap();
    let elsewhere = broker.home().base().join("run-2");
    for run in [broker.home().run(), elsewhere] {
        attempt(broker.home(), &["--run", run.to_str().unwrap()])
            .exits(1)
            .says(&[
                "another broker already runs",
                state.to_str().unwrap(),
                "--state",
            ]);
    }
    let after = broker.status().unwrap();
    assert_eq!(before.policy, after.policy);
    broker.up(&["probe"]);
    assert_eq!(
        broker.probe("echo", &serde_json::json!([1])).data(),
        &serde_json::json!(1)
    );
    broker.verify().ok();
}

#[test]
fn wrong_directories_and_arguments_are_named() {
    let home = Home::new();
    for (arguments, code, says) in [
        (
            &["--home", "/nonexistent"][..],
            1,
            &["/nonexistent", "--home"][..],
        ),
        (
            &["--guest", "/nonexistent/guest"],
            1,
            &["/nonexistent/guest", "--guest"],
        ),
        (&["--homw", "/x"], 2, &["--homw"]),
        (&["start"], 2, &["start"]),
    ] {
        attempt(&home, arguments).exits(code).says(says);
    }
    // A state directory that others may write is no place for a log.
    let open = home.base().join("open");
    fs::create_dir(&open).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&open, mode).unwrap();
    attempt(&home, &["--state", open.to_str().unwrap()])
        .exits(1)
        .says(&["open", "remedy: ", "chmod go-w"]);
}

#[test]
fn a_damaged_audit_log_stops_the_start_and_is_left_as_it_is() {
    let mut broker = Broker::start(Home::new());
    broker.must(&["grant", "add", "probe:tool:do", "env_read", "KEY"]);
    broker.stop();
    let home = broker.home();
    let audit = home.state().join("audit");
    let segment = fs::read_dir(&audit)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .unwrap_or_else(|| {
            panic!(
                "no segment in {:?}",
                fs::read_dir(&audit).unwrap().collect::<Vec<_>>()
            )
        });
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    attempt(home, &[])
        .exits(1)
        .says(&[segment.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(fs::read(&segment).unwrap(), bytes);
    home.packctl(&["audit", "verify"]).exits(1);
}

#[test]
fn the_unit_file_passes_systemd_analyze() {
    let home = Home::new();
    let unit = fs::read_to_string(repository().join("broker/rumi-broker.service")).unwrap();
    let installed = "/usr/local/sbin/rumi-broker";
    assert!(unit.contains(&format!("ExecStart={installed} ")));
    let copy = home.base().join("rumi-broker.service");
    let built = binary("rumi-broker");
    fs::write(&copy, unit.replace(installed, built.to_str().unwrap())).unwrap();
    let verified = Output::of(Command::new("systemd-analyze").arg("verify").arg(&copy)).ok();
    assert!(
        !verified.text().contains("rumi-broker.service"),
        "{}",
        verified.text()
    );
}
