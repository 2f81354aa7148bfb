//! A broker that hangs or ends takes no container along, and gives its files back.

use std::time::{Duration, Instant};

use rumi_tests::{Broker, Home, within, write_snippets};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const HOLDER: &str = "holder:tool:run";

fn started() -> Broker {
    let home = Home::new();
    write_snippets(&home, "holder", &["run"]);
    home.file("in/f", "content");
    let reading = json!({"enabled": true, "directories": [home.data("in")]});
    home.grant(HOLDER, &json!({"file_read": reading}));
    let broker = Broker::start(home);
    broker.up(&["holder"]);
    broker
}

fn path(broker: &Broker) -> String {
    format!("/files{}", broker.home().data("in").join("f").display())
}

/// Runs Python under the component's own uid, with no broker in between.
fn beside(broker: &Broker, uid: u32, code: &str) -> (Duration, String) {
    let container = broker.containers().remove(0);
    let started = Instant::now();
    let output = std::process::Command::new("docker")
        .args(["exec", "--user", &uid.to_string(), &container])
        .args(["python3", "-I", "-c", code])
        .output()
        .unwrap();
    let told =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (started.elapsed(), told.trim().to_owned())
}

/// Says what a look at the file came to, and how long it took.
fn look(path: &str) -> String {
    format!(
        "import errno, os, time\nstarted = time.monotonic()\n\
         try: what = str(os.stat('{path}').st_size)\n\
         except OSError as e: what = errno.errorcode[e.errno]\n\
         print(what, round(time.monotonic() - started, 1))"
    )
}

fn reads(broker: &Broker) -> bool {
    let code = format!("out = open('{}').read()", path(broker));
    let called = broker.try_call(HOLDER, &json!({"code": code}).to_string(), 5_000);
    called.is_ok_and(|called| called.result["data"] == json!("content"))
}

/// The watchdogs that a broker has as children.
fn watchdogs(broker: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{broker}/task")).unwrap();
    let children: String = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect();
    let all = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    let is = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("watch-files")
    };
    all.filter(is).collect()
}

#[test]
fn a_broker_that_hangs_is_let_go_of_and_gives_the_files_back_when_it_wakes() {
    let broker = started();
    assert!(reads(&broker));
    let uid = broker.as_component(HOLDER).uid();
    let pid = Pid::from_raw(i32::try_from(broker.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let (took, told) = beside(&broker, uid, &look(&path(&broker)));
    let (what, seconds) = told.split_once(' ').unwrap_or((&told, "?"));
    let failed = ["ENOTCONN", "ECONNABORTED"].contains(&what);
    kill_process(pid, Signal::CONT).unwrap();
    assert!(failed, "{told}");
    let seconds: f64 = seconds.parse().unwrap();
    assert!(seconds <= 5.0, "it took {seconds} s of {took:?}");
    within(Duration::from_secs(10), "files again", || reads(&broker));
}

#[test]
fn a_broker_that_is_killed_ends_every_wait_and_the_next_one_gives_the_files_back() {
    let mut broker = started();
    assert!(reads(&broker));
    let uid = broker.as_component(HOLDER).uid();
    for _ in 0..3 {
        let watching = watchdogs(broker.pid());
        assert_eq!(watching.len(), 1);
        broker.kill9();
        let (_, told) = beside(&broker, uid, &look(&path(&broker)));
        assert!(
            told.starts_with("ENOTCONN") || told.starts_with("ECONNABORTED"),
            "{told}"
        );
        within(Duration::from_secs(5), "no watchdog", || {
            let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
            !watching.iter().any(lives)
        });
        broker.launch();
        within(Duration::from_secs(10), "files again", || reads(&broker));
    }
    let containers = broker.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
}

#[test]
fn a_watchdog_that_is_killed_is_started_again() {
    let broker = started();
    let first = watchdogs(broker.pid());
    let pid = Pid::from_raw(i32::try_from(first[0]).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    within(Duration::from_secs(5), "another watchdog", || {
        let now = watchdogs(broker.pid());
        now.len() == 1 && now != first
    });
    assert!(reads(&broker));
}
