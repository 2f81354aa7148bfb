//! Changes of policy files count within a second, however they are made.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

use rumi_tests::{Broker, Home, Peer, within};
use serde_json::{Value, json};

const COMPONENT: &str = "probe:tool:do";
/// What a change may take until it counts.
const PROMISE: Duration = Duration::from_secs(1);

struct Stage {
    broker: Broker,
    peer: Peer,
    file: String,
    permissions: Value,
}

impl Stage {
    fn new() -> Self {
        let broker = Broker::start(Home::new());
        broker.up(&["probe"]);
        let file = broker.home().file("docs/a.txt", "a");
        let permissions =
            json!({"file_read": {"enabled": true, "directories": [file.parent().unwrap()]}});
        let peer = broker.component(COMPONENT);
        let file = file.display().to_string();
        Self {
            broker,
            peer,
            file,
            permissions,
        }
    }
    fn home(&self) -> &Home {
        self.broker.home()
    }
    fn allowed(&self) -> bool {
        self.peer
            .json("FileRead", &json!({"path": self.file}))
            .status
            == 200
    }
    /// How long it takes until the component may read the file, or may not any more.
    #[track_caller]
    fn counts(&self, allowed: bool, what: &str) -> Duration {
        within(PROMISE, what, || self.allowed() == allowed)
    }
    fn grant_text(&self) -> String {
        json!({"component_id": COMPONENT, "permissions": self.permissions}).to_string()
    }
}

/// Grants what is asked for in one way or another.
type Way = fn(&Stage);

const WAYS: &[(&str, Way)] = &[
    ("a file renamed over another", |stage| {
        stage.home().grant(COMPONENT, &json!({}));
        std::thread::sleep(Duration::from_millis(50));
        stage.home().grant(COMPONENT, &stage.permissions);
    }),
    ("a file truncated and written again", |stage| {
        stage.home().grant(COMPONENT, &json!({}));
        std::thread::sleep(Duration::from_millis(50));
        fs::write(stage.home().grant_file(COMPONENT), stage.grant_text()).unwrap();
    }),
    ("a file written slowly", |stage| {
        use std::io::Write as _;
        let mut file = fs::File::create(stage.home().grant_file(COMPONENT)).unwrap();
        let text = stage.grant_text();
        for piece in text.as_bytes().chunks(text.len().div_ceil(5)) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(30));
        }
    }),
    ("a directory removed and made again", |stage| {
        let grants = stage.home().path().join("grants");
        fs::remove_dir_all(&grants).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        fs::create_dir(&grants).unwrap();
        stage.home().grant(COMPONENT, &stage.permissions);
    }),
    ("a directory removed and made again at once", |stage| {
        let grants = stage.home().path().join("grants");
        fs::remove_dir_all(&grants).unwrap();
        fs::create_dir(&grants).unwrap();
        stage.home().grant(COMPONENT, &stage.permissions);
    }),
    ("a directory moved into the place of another", |stage| {
        let grants = stage.home().path().join("grants");
        let other = stage.home().path().join("grants.new");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(format!("{COMPONENT}.json")), stage.grant_text()).unwrap();
        fs::rename(&grants, stage.home().path().join("grants.old")).unwrap();
        fs::rename(&other, &grants).unwrap();
        fs::remove_dir_all(stage.home().path().join("grants.old")).unwrap();
    }),
    ("a thousand files at once", |stage| {
        for number in 0..1000 {
            stage
                .home()
                .grant(&format!("crowd:tool:t{number}"), &stage.permissions);
        }
        stage.home().grant(COMPONENT, &stage.permissions);
    }),
];

#[test]
fn every_way_of_changing_a_grant_counts_within_a_second_and_back() {
    let stage = Stage::new();
    for (what, way) in WAYS {
        assert!(!stage.allowed(), "{what}");
        way(&stage);
        let took = stage.counts(true, what);
        stage.home().ungrant(COMPONENT);
        let back = stage.counts(false, what);
        println!("{what}: {took:?}, back {back:?}");
    }
    let rewritten = stage.home().path().join("grants");
    for entry in fs::read_dir(rewritten).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    stage.broker.verify().ok();
}

#[test]
fn a_half_written_grant_denies_only_its_component_and_never_allows_more() {
    let stage = Stage::new();
    stage.home().grant(COMPONENT, &stage.permissions);
    stage.counts(true, "the grant");
    let other = stage.home().grant_file("probe:tool:other");
    for half in [
        "{",
        "{\"component_id\": \"probe:tool:other\", \"permissions\": {\"file_read\": {",
    ] {
        fs::write(&other, half).unwrap();
        let peer = stage.broker.component("probe:tool:other");
        within(PROMISE, "the broken file to deny", || {
            peer.json("FileRead", &json!({"path": stage.file})).reason() == "grant_invalid"
        });
        assert!(stage.allowed(), "the neighbour suffers");
    }
}

#[test]
fn a_storm_of_events_that_overflows_the_queue_loses_no_change() {
    let stage = Stage::new();
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(stage.broker.pid()).unwrap()).unwrap();
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    let grants = stage.home().path().join("grants");
    // While the broker stands still the kernel's queue fills up: at least the creation and the
    // removal of a file are an event each.
    signal(rustix::process::Signal::STOP);
    let noise = || {
        for number in 0..=queue / 2 {
            let path = grants.join(format!("noise-{number}"));
            fs::write(&path, "").unwrap();
            fs::remove_file(path).unwrap();
        }
    };
    noise();
    // Nobody tells of this change any more but the overflow itself.
    stage.home().grant(COMPONENT, &stage.permissions);
    signal(rustix::process::Signal::CONT);
    stage.counts(true, "the change that the overflow swallowed");
    signal(rustix::process::Signal::STOP);
    noise();
    stage.home().ungrant(COMPONENT);
    signal(rustix::process::Signal::CONT);
    stage.counts(false, "the withdrawal that the overflow swallowed");
}

#[test]
fn a_storm_that_does_not_end_holds_no_change_up() {
    let stage = Stage::new();
    let grants = stage.home().path().join("grants");
    let stop = Mutex::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(20);
            for number in 0_u64.. {
                if *stop.lock().unwrap() || Instant::now() > deadline {
                    return;
                }
                let path = grants.join(format!("noise-{}", number % 64));
                fs::write(path, number.to_string()).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for allowed in [true, false, true, false] {
            if allowed {
                stage.home().grant(COMPONENT, &stage.permissions);
            } else {
                stage.home().ungrant(COMPONENT);
            }
            stage.counts(allowed, "a change amid a storm");
        }
        *stop.lock().unwrap() = true;
    });
}
