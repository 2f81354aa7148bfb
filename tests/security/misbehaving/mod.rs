//! Every misdeed of the pack `misbehaving`: what it achieved, and what is left of it.

mod answers;
mod ends;
mod files;
mod floods;
mod kernel;
mod network;
mod processes;
mod sockets;

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rumi_tests::{Called, Ends, Misdeed, Output, repository, within};
use serde_json::json;

use crate::yard::{Yard, yard};

const ACT: &str = "misbehaving:tool:act";
const BYSTANDER: &str = "misbehaving:tool:bystander";

/// The pack's container, with nobody else at work in it.
struct Scene {
    yard: Yard,
    container: String,
    init: u32,
    uids: [u32; 2],
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    #[track_caller]
    fn enter() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let yard = yard();
        let uids = [ACT, BYSTANDER].map(|component| yard.component(component).uid());
        let container = container(&yard);
        let init = init(&container);
        Self {
            yard,
            container,
            init,
            uids,
            _alone: alone,
        }
    }

    /// Commits all of these, one after the other.
    #[track_caller]
    fn commit_all(&self, misdeeds: &[Misdeed]) -> Vec<Called> {
        misdeeds
            .iter()
            .map(|misdeed| self.commit(misdeed))
            .collect()
    }

    /// Commits one, judges its end, and looks at what it left.
    #[track_caller]
    fn commit(&self, misdeed: &Misdeed) -> Called {
        let args = misdeed.args();
        let commit = || {
            let called = self
                .yard
                .try_call(ACT, &args.to_string(), misdeed.timeout_ms);
            called.unwrap_or_else(|status| panic!("{}: {status}", misdeed.name))
        };
        let called = if misdeed.beside {
            self.beside(commit)
        } else {
            commit()
        };
        misdeed.judge(&called);
        self.look_around(misdeed.name);
        called
    }

    /// Commits it while the neighbour in the same container and another pack are called.
    fn beside(&self, commit: impl FnOnce() -> Called + Send) -> Called {
        std::thread::scope(|scope| {
            let misdeed = scope.spawn(commit);
            let mut answered = 0;
            while !misdeed.is_finished() || answered == 0 {
                for (component, args) in [
                    (BYSTANDER, json!({"do": "look"})),
                    ("probe:tool:other", json!({"op": "echo", "args": [1]})),
                ] {
                    let started = Instant::now();
                    self.yard.call(component, &args).data();
                    assert!(
                        started.elapsed() < Duration::from_secs(15),
                        "`{component}` starves"
                    );
                    answered += 1;
                }
            }
            misdeed
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What host and neighbours see afterwards: the same container, nothing left in it, an
    /// undisturbed neighbour, and a next call that is answered.
    #[track_caller]
    fn look_around(&self, misdeed: &str) {
        let next = self.yard.call(ACT, &json!({"misdeed": "return_nothing"}));
        assert_eq!(
            next.result,
            json!({"ok": true, "data": null}),
            "the call after {misdeed}"
        );
        within(
            Duration::from_secs(5),
            &format!("the end of all that {misdeed} began"),
            || self.left().is_empty(),
        );
        assert_eq!(container(&self.yard), self.container, "{misdeed}");
        assert_eq!(
            init(&self.container),
            self.init,
            "{misdeed}: the container began anew"
        );
        let look = self.yard.call(BYSTANDER, &json!({"do": "look"}));
        assert_eq!(look.data()["disturbed"], json!(false), "{misdeed}");
        assert_eq!(look.data()["uid"], json!(self.uids[1]), "{misdeed}");
        assert_eq!(
            look.data()["tmp"],
            json!([]),
            "{misdeed} left something in /tmp"
        );
    }

    /// Processes of the container that are neither its staff nor a spare, as the host sees them.
    fn left(&self) -> Vec<String> {
        let all = self.processes();
        let name = |pid: u32| {
            all.iter()
                .find(|process| process.pid == pid)
                .map(|found| found.name.as_str())
        };
        let staff = |process: &&Process| {
            ["guest", "exe", "rumi-zygote"].contains(&process.name.as_str())
                || process.name == "rumi-spare" && name(process.parent) == Some("rumi-zygote")
        };
        let strangers = all.iter().filter(|process| !staff(process));
        let mut left: Vec<_> = strangers.map(|process| format!("{process:?}")).collect();
        for uid in self.uids {
            let of = |kind: &str| {
                all.iter()
                    .filter(|p| p.uid == uid && p.name == kind)
                    .count()
            };
            if of("rumi-zygote") != 1 || of("rumi-spare") > 2 {
                left.push(format!(
                    "{} interpreters, {} spares of {uid}",
                    of("rumi-zygote"),
                    of("rumi-spare")
                ));
            }
        }
        left
    }

    fn processes(&self) -> Vec<Process> {
        let numbers = fs::read_dir("/proc").expect("/proc").flatten();
        numbers
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Process::of(pid, &self.container))
            .collect()
    }

    /// The work area of the pack, as the host sees it.
    fn workspace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/workspace", self.init))
    }

    /// Resident memory of the broker, in MiB.
    fn memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.yard.pid())).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.expect("VmRSS") / 1024
    }
}

#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    uid: u32,
    name: String,
}

impl Process {
    /// Nothing where it has ended or belongs to another container.
    fn of(pid: u32, container: &str) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        if !read("cgroup")?.contains(container) {
            return None;
        }
        let status = read("status")?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        // One that has ended and is not reaped yet runs no more.
        if field("State:")? == "Z" {
            return None;
        }
        Some(Self {
            pid,
            parent: field("PPid:")?.parse().ok()?,
            uid: field("Uid:")?.parse().ok()?,
            name: field("Name:")?.to_owned(),
        })
    }
}

#[track_caller]
fn container(yard: &Yard) -> String {
    let packs = yard.ps();
    let pack = packs
        .iter()
        .find(|pack| pack.pack == "misbehaving")
        .expect("it is up");
    assert_eq!(pack.state, "running", "{pack:?}");
    pack.container_id.clone()
}

#[track_caller]
fn init(container: &str) -> u32 {
    let mut inspect = Command::new("docker");
    let said = Output::of(inspect.args(["inspect", "--format", "{{.State.Pid}}", container])).ok();
    said.stdout.trim().parse().expect("a pid")
}

#[test]
fn every_misdeed_of_the_pack_is_in_its_readme_and_in_these_tables_and_nowhere_else() {
    let mut judged = Vec::new();
    for table in [
        ends::ALL,
        answers::ALL,
        floods::ALL,
        processes::ALL,
        files::ALL,
        kernel::ALL,
        network::ALL,
        sockets::ALL,
    ] {
        judged.extend(
            table
                .iter()
                .flat_map(|part| part.iter())
                .map(|misdeed| misdeed.name.to_owned()),
        );
    }
    let tables: BTreeSet<_> = judged.iter().cloned().collect();
    assert_eq!(tables.len(), judged.len(), "a misdeed is judged twice");

    let pack = repository().join("docker/packs/misbehaving");
    let program = "import sys, json; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1]); \
                   import act; print(json.dumps(act.names()))";
    let code = Output::of(
        Command::new("python3")
            .args(["-I", "-c", program])
            .arg(&pack),
    )
    .ok()
    .json();
    let code: BTreeSet<String> = serde_json::from_value(code).unwrap();
    assert_eq!(tables, code, "these tables and the code disagree");

    let readme = fs::read_to_string(pack.join("README.md")).unwrap();
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let named = rows.flat_map(|cell| cell.split('`').step_by(2));
    let readme: BTreeSet<String> = named
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(tables, readme, "these tables and README.md disagree");
}
