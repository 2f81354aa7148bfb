//! Two brokers with the same packs, of which one is attacked and the other is its twin.
//!
//! How quick a call is depends on what else the machine does. So each call of the attacked tool has one of
//! the twin's beside it, which is as all was before the attack: what slows the machine slows both, and only
//! what is left of the attack slows one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use rumi_proto::v1::{self, control_client::ControlClient};
use rumi_tests::{Broker, Home, Misdeed, Output, repository, within};
use serde_json::{Value, json};
use tonic::transport::Channel;

/// Calls of which the median is taken.
const CALLS: usize = 50;
/// How much slower than its twin's the median may be, to whom nothing was done.
const SLOWER: f64 = 1.2;
/// How often fifty calls are made where they were slower: a machine that does other things too disturbs
/// some of them, and an attack that left something behind disturbs all.
const ROUNDS: usize = 6;
/// How much larger the broker may be, in KiB.
const LARGER: u64 = 2 * 1024;
/// How many more files it may have open: it keeps connections to the engine for a while. Of an attack that
/// leaves one open, there are soon more.
const MORE_OPEN: usize = 8;
/// How long what has no promised time may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tool, and what it does to harm others.
#[derive(Debug)]
pub struct Attacker {
    /// Who attacks.
    pub component: &'static str,
    /// What it does, one after the other.
    pub attacks: &'static [Misdeed],
    /// After how many of them it is looked at how quick calls are.
    pub together: usize,
    /// The largest answers that there are: buffers that are made once and kept are made by these.
    pub largest: &'static [Misdeed],
}

/// One broker and a connection to it.
#[derive(Debug)]
struct Side {
    broker: Broker,
    control: Mutex<ControlClient<Channel>>,
}

/// Both of them.
#[derive(Debug)]
pub struct Stand {
    attacked: Side,
    twin: Side,
}

/// What is there while nothing is called.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    /// Memory of the broker that is no file's, in KiB.
    memory: u64,
    /// Files that the broker has open.
    descriptors: usize,
    /// Processes of the container.
    processes: usize,
    /// Control groups of calls and spares.
    groups: usize,
}

impl Stand {
    /// The stand, with nobody else on it.
    pub fn enter() -> MutexGuard<'static, Self> {
        static STAND: OnceLock<Mutex<Stand>> = OnceLock::new();
        let start = || {
            Mutex::new(Self {
                attacked: Side::start(),
                twin: Side::start(),
            })
        };
        let stand = STAND.get_or_init(start);
        stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits each attack, and sees that all is as it was before.
    #[track_caller]
    pub fn withstands(&self, attacker: &Attacker) {
        for misdeed in attacker.largest {
            self.attacked.commit(attacker, misdeed);
        }
        self.attacked.wait_for_spares(attacker.component);
        let before = self.attacked.footprint(attacker.component);
        println!("{}: {before:?}", attacker.component);
        for attacks in attacker.attacks.chunks(attacker.together) {
            let mut names = Vec::new();
            for attack in attacks {
                let started = Instant::now();
                self.attacked.commit(attacker, attack);
                let lasted = started.elapsed();
                let after = self
                    .attacked
                    .settles(&before, attacker.component, attack.name);
                println!("{}: {lasted:.1?}, then {after:?}", attack.name);
                names.push(attack.name);
            }
            let pace = self.quick_again(attacker.component, &names.join(", "));
            println!("then {pace:.3} of its twin's");
        }
        let log = self.attacked.broker.log();
        assert!(!log.contains("panicked"), "the broker panicked: {log}");
    }

    /// The pace of the first fifty calls that are quick enough.
    #[track_caller]
    fn quick_again(&self, component: &str, after: &str) -> f64 {
        let mut paces = Vec::new();
        while paces.len() < ROUNDS {
            let pace = self.pace(component);
            if pace <= SLOWER {
                return pace;
            }
            paces.push(pace);
        }
        panic!("after {after} a call takes {paces:.2?} of what its twin's does")
    }

    /// The median of the attacked tool's calls relative to its twin's, turn by turn. Each finds a process that
    /// is ready: how long the making of one takes is a matter of its code.
    #[track_caller]
    fn pace(&self, component: &str) -> f64 {
        let (mut attacked, mut twin) = (Vec::new(), Vec::new());
        for turn in 0..CALLS {
            let mut sides = [(&self.attacked, &mut attacked), (&self.twin, &mut twin)];
            // Whoever comes second finds the processors awake.
            if turn % 2 == 1 {
                sides.reverse();
            }
            for (side, times) in sides {
                side.wait_for_spares(component);
                times.push(side.honest(component));
            }
        }
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times.get(CALLS / 2).map_or(f64::NAN, Duration::as_secs_f64)
        };
        median(attacked) / median(twin)
    }
}

impl Side {
    fn start() -> Self {
        let home = Home::new();
        home.take_pack("docker/packs/misbehaving");
        home.take_pack("tests/packs/attackers");
        without_landlock(&home);
        // What a pack may use of the processors is a limit of its own, and not what is asked here.
        home.configure(|config| config["pack"]["cpus"] = json!(2.0));
        let broker = Broker::start(home);
        broker.up(&["misbehaving", "attackers", "unconfined"]);
        let control = broker.block_on(broker.control()).expect("control");
        Self {
            broker,
            control: Mutex::new(control),
        }
    }

    /// Commits one, and sees that it ends as it must and that the next call is answered.
    #[track_caller]
    fn commit(&self, attacker: &Attacker, attack: &Misdeed) {
        let args = attack.args().to_string();
        let called = self
            .broker
            .try_call(attacker.component, &args, attack.timeout_ms);
        attack.judge(&called.unwrap_or_else(|status| panic!("{}: {status}", attack.name)));
        self.honest(attacker.component);
    }

    /// How long a call takes that does no harm, which must be answered.
    #[track_caller]
    fn honest(&self, component: &str) -> Duration {
        let request = v1::CallRequest {
            component_id: component.to_owned(),
            args_json: r#"{"misdeed": "return_nothing"}"#.to_owned(),
            timeout_ms: 0,
        };
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let response = self.broker.block_on(control.call(request));
        let lasted = started.elapsed();
        let result = response.expect("an honest call").into_inner().result_json;
        let result: Value = serde_json::from_str(&result).expect("JSON");
        assert_eq!(result, json!({"ok": true, "data": null}));
        lasted
    }

    /// Waits for one of each of the pack's tools, which have the same container.
    #[track_caller]
    fn wait_for_spares(&self, component: &str) {
        within(PATIENCE, &format!("the spares beside {component}"), || {
            let packs = self.packs(component);
            let mut components = packs.iter().flat_map(|pack| &pack.components);
            components.all(|known| known.spares > 0)
        });
    }

    #[track_caller]
    fn packs(&self, component: &str) -> Vec<v1::PackStatus> {
        let pack = component.split(':').next().unwrap_or_default();
        let request = v1::PsRequest {
            packs: vec![pack.to_owned()],
        };
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = self.broker.block_on(control.ps(request));
        reply.expect("ps").into_inner().packs
    }

    /// Waits until no more is there than before, and says what is.
    #[track_caller]
    fn settles(&self, before: &Footprint, component: &str, after: &str) -> Footprint {
        let started = Instant::now();
        loop {
            self.wait_for_spares(component);
            let now = self.footprint(component);
            if now.memory <= before.memory + LARGER
                && now.descriptors <= before.descriptors + MORE_OPEN
                && now.processes <= before.processes
                && now.groups <= before.groups
            {
                return now;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "after {after}: {now:?}, where there was {before:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn footprint(&self, component: &str) -> Footprint {
        let packs = self.packs(component);
        let container = &packs.first().expect("the pack is up").container_id;
        let broker = PathBuf::from(format!("/proc/{}", self.broker.pid()));
        let status = fs::read_to_string(broker.join("status")).expect("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        let groups = groups_of(container);
        Footprint {
            memory: memory.expect("RssAnon"),
            descriptors: fs::read_dir(broker.join("fd")).expect("fd").count(),
            processes: groups.iter().map(|group| processes(group)).sum(),
            groups: groups.len(),
        }
    }
}

/// A pack with the misdeeds of `misbehaving` in a Python that believes its kernel to have no Landlock.
fn without_landlock(home: &Home) {
    let copy = |from: &str| {
        let mut copying = Command::new("cp");
        let from = repository().join(from);
        Output::of(copying.arg("-r").arg(from).arg(home.pack("unconfined"))).ok();
    };
    copy("docker/packs/misbehaving");
    copy("tests/packs/attackers/without_landlock");
    let mut manifest = Home::manifest("unconfined");
    manifest["components"][0]["entry"] = json!("act.py");
    manifest["components"][0]["memory_mb"] = json!(128);
    manifest["components"][0]["timeout_ms"] = json!(20_000);
    manifest["components"][0]["python_path"] = json!("/opt/pack/without_landlock");
    home.write_manifest("unconfined", &manifest);
}

/// The control groups of a container in the hierarchy that counts processes.
#[track_caller]
fn groups_of(container: &str) -> Vec<PathBuf> {
    let mut inspect = Command::new("docker");
    inspect.args(["inspect", "--format", "{{.State.Pid}}", container]);
    let pid = Output::of(&mut inspect).ok().stdout;
    let all = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).expect("its groups");
    // Version 1 has a line for each controller, version 2 one for all.
    let path = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some(("/sys/fs/cgroup".to_owned(), path.to_owned())),
            "pids" => Some(("/sys/fs/cgroup/pids".to_owned(), path.to_owned())),
            _ => None,
        }
    };
    let mut found: Vec<_> = all.lines().filter_map(path).collect();
    // The one with a controller of its own, where there is one.
    found.sort_by_key(|(root, _)| std::cmp::Reverse(root.len()));
    let (root, path) = found.first().expect("a group");
    let mut groups = vec![PathBuf::from(format!("{root}{path}"))];
    let mut next = 0;
    while let Some(group) = groups.get(next).cloned() {
        let entries = fs::read_dir(&group).into_iter().flatten().flatten();
        groups.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        next += 1;
    }
    groups
}

/// How many processes are in a group, those included that have ended and nobody has waited for.
fn processes(group: &Path) -> usize {
    fs::read_to_string(group.join("cgroup.procs")).map_or(0, |pids| pids.lines().count())
}
