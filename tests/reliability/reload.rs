//! A policy that changes without pause: each answer is one that a complete policy gives, and an
//! error widens nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rumi_policy::{PolicySet, PolicySource, SourceFile};
use rumi_tests::{Broker, Home, Peer, eventually};
use serde_json::json;

const FIRST: &str = "probe:tool:do";
const SECOND: &str = "probe:tool:other";
const STORM: Duration = Duration::from_secs(12);

/// What a file says; nothing where it is missing.
type Text = Option<String>;

/// The three files that change: two grants and a scope.
const FILES: [&str; 3] = [
    "grants/probe:tool:do.json",
    "grants/probe:tool:other.json",
    "scopes/file_read.json",
];

/// What is on the disk, and everything that ever was.
struct Disk<'a> {
    home: &'a Home,
    now: [Text; 3],
    seen: BTreeSet<[Text; 3]>,
}

impl Disk<'_> {
    /// Writes a file beside its place and renames it, so that there is no moment between.
    fn put(&mut self, which: usize, text: &str) {
        let path = self.home.path().join(FILES[which]);
        let half = path.with_extension("half");
        // Known before it can be read.
        self.note(which, Some(text.to_owned()));
        fs::write(&half, text).unwrap();
        fs::rename(half, path).unwrap();
    }

    fn note(&mut self, which: usize, text: Text) {
        self.now[which] = text;
        self.seen.insert(self.now.clone());
    }

    fn remove(&mut self, which: usize) {
        self.note(which, None);
        fs::remove_file(self.home.path().join(FILES[which])).unwrap();
    }

    /// Writes in place, in two steps, as some editors do.
    fn rewrite(&mut self, which: usize, text: &str) {
        let path = self.home.path().join(FILES[which]);
        let (begin, end) = text.split_at(text.len() / 2);
        let mut file = fs::File::create(&path).unwrap();
        self.note(which, Some(String::new()));
        std::io::Write::write_all(&mut file, begin.as_bytes()).unwrap();
        self.note(which, Some(begin.to_owned()));
        std::io::Write::write_all(&mut file, end.as_bytes()).unwrap();
        self.note(which, Some(text.to_owned()));
    }
}

/// The texts of the two policies. Under the first the scope forbids `secret` and the first grant is wide; under the
/// second the scope forbids nothing here and the grant is narrow. The wide grant with the loose scope would show it.
struct Texts {
    wide: String,
    narrow: String,
    tight: String,
    loose: String,
    other: [String; 2],
}

fn texts(home: &Home) -> Texts {
    let grant = |component: &str, directories: &[PathBuf]| {
        let given = json!({"enabled": true, "directories": directories});
        json!({"component_id": component, "permissions": {"file_read": given}}).to_string()
    };
    let scope = |forbidden: &[PathBuf]| {
        json!({"version": "1.0", "description": "", "default_config": {}, "limits": {"forbidden": forbidden}})
            .to_string()
    };
    let (data, open, secret) = (home.data(""), home.data("open"), home.data("secret"));
    let data = PathBuf::from(data.to_str().unwrap().trim_end_matches('/'));
    Texts {
        wide: grant(FIRST, std::slice::from_ref(&data)),
        narrow: grant(FIRST, std::slice::from_ref(&open)),
        tight: scope(&[secret]),
        loose: scope(&[]),
        other: [grant(SECOND, &[]), grant(SECOND, &[open])],
    }
}

/// The hash that the broker gives to these files.
fn hash(home: &Home, files: &[Text; 3]) -> String {
    let policy = home.path();
    let read = |directory: &str| {
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in fs::read_dir(policy.join(directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let changes = FILES.contains(&format!("{directory}/{name}").as_str());
            if name.ends_with(".json") && !changes {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
        for (place, text) in FILES.iter().zip(files) {
            if let (Some(name), Some(text)) = (place.strip_prefix(&format!("{directory}/")), text) {
                found.insert(name.to_owned(), text.clone().into_bytes());
            }
        }
        let files = found.into_iter();
        files
            .map(|(name, bytes)| SourceFile { name, bytes })
            .collect()
    };
    let protected = [
        home.state(),
        home.run(),
        policy.join("grants"),
        policy.join("scopes"),
        policy.join("docker"),
    ];
    let set = PolicySet::compile(PolicySource {
        grants: read("grants"),
        scopes: read("scopes"),
        protected: protected
            .iter()
            .map(|path| path.to_str().unwrap().parse().unwrap())
            .collect(),
    });
    set.hash().hex()
}

/// What one answer was, by the record it names.
fn ask(peer: &Peer, path: &PathBuf) -> String {
    let reply = peer.json("FileRead", &json!({"path": path}));
    if reply.status == 200 {
        return "allow".to_owned();
    }
    reply.reason()
}

#[test]
fn a_storm_of_reloads_answers_with_no_mixture_and_widens_nothing() {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let home = broker.home();
    let open = home.file("open/file", "open");
    let secret = home.file("secret/file", "secret");
    let texts = texts(home);
    let first = [
        Some(texts.wide.clone()),
        Some(texts.other[0].clone()),
        Some(texts.tight.clone()),
    ];
    let mut disk = Disk {
        home,
        now: [None, None, None],
        seen: BTreeSet::new(),
    };
    for which in [2, 1, 0] {
        disk.put(which, first[which].as_deref().unwrap());
    }
    // So many that a reading takes longer than a change.
    for number in 0..200 {
        home.grant(&format!("many:tool:t{number}"), &json!({}));
    }
    // That our own sum is the broker's, or nothing below would mean anything.
    eventually("the first policy", || broker.policy() == hash(home, &first));
    let began = broker.audit().len();
    let peers = [broker.as_component(FIRST), broker.as_component(SECOND)];
    let over = AtomicBool::new(false);
    let answers: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for peer in &peers {
            for path in [&open, &secret] {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        let name = if std::ptr::eq(path, &raw const open) {
                            "open"
                        } else {
                            "secret"
                        };
                        let answer = format!("{name} {}", ask(peer, path));
                        *answers.lock().unwrap().entry(answer).or_default() += 1;
                    }
                });
            }
        }
        let end = Instant::now() + STORM;
        let mut round = 0_usize;
        while Instant::now() < end {
            storm(&mut disk, &texts, round);
            round += 1;
        }
        println!("{round} rounds");
        over.store(true, Ordering::Release);
    });
    let answers = answers.into_inner().unwrap();
    println!("{answers:#?}");
    let said = |answer: &str| answers.get(answer).copied().unwrap_or(0);
    assert!(said("open allow") > 100, "nothing was allowed");
    assert!(said("secret forbidden_by_scope") > 10 && said("secret outside_directory") > 10);
    assert_eq!(
        said("secret allow"),
        0,
        "no policy that ever was allows this"
    );
    check_records(&broker, &disk, began);
}

/// From one policy to the other and back, in the order in which nothing is wider than either, and
/// with everything that may happen to a file on the way.
fn storm(disk: &mut Disk, texts: &Texts, round: usize) {
    let other = &texts.other[round % 2];
    disk.put(0, &texts.narrow);
    disk.put(1, other);
    disk.put(2, &texts.loose);
    match round % 8 {
        1 => disk.rewrite(0, &texts.narrow),
        2 => {
            disk.remove(1);
            disk.put(1, other);
        }
        3 => {
            disk.put(0, &texts.narrow[..texts.narrow.len() - 7]);
            disk.put(0, &texts.narrow);
        }
        4 => {
            // Root reads it all the same; where it could not, nothing could be wider.
            let path = disk.home.path().join(FILES[1]);
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        _ => {}
    }
    pause(round);
    disk.put(2, &texts.tight);
    disk.put(0, &texts.wide);
    match round % 8 {
        5 => {
            disk.remove(2);
            disk.put(2, &texts.tight);
        }
        6 => {
            disk.put(2, "{\"version\": \"2.0\"}");
            disk.put(2, &texts.tight);
        }
        7 => disk.rewrite(2, &texts.tight),
        _ => {}
    }
    pause(round / 2);
}

/// Long enough to be noticed, or so short that the next change comes while the last one is read.
fn pause(round: usize) {
    let wait = [0, 0, 1, 12, 40][round % 5];
    std::thread::sleep(Duration::from_millis(wait));
}

/// Every policy that a record names was on the disk, with files left out that were just being
/// changed; and under one policy the same question has one answer.
fn check_records(broker: &Broker, disk: &Disk, began: usize) {
    let mut known = BTreeSet::new();
    for files in &disk.seen {
        for emptied in 0..8_usize {
            let mut files = files.clone();
            for (which, text) in files.iter_mut().enumerate() {
                if emptied & (1 << which) != 0 {
                    *text = Some(String::new());
                }
            }
            known.insert(hash(disk.home, &files));
        }
    }
    let records = broker.audit();
    let in_force: BTreeSet<&str> = records
        .iter()
        .filter(|record| record["phase"] == "policy")
        .filter_map(|record| record["policy"].as_str())
        .collect();
    let mut answers: BTreeMap<String, String> = BTreeMap::new();
    let mut policies = BTreeSet::new();
    let decisions = records
        .iter()
        .skip(began)
        .filter(|record| record["phase"] == "decision");
    for record in decisions {
        let policy = record["policy"].as_str().unwrap();
        assert!(known.contains(policy), "a mixture: {record}");
        assert!(in_force.contains(policy), "never told of: {record}");
        policies.insert(policy);
        let question = format!("{policy} {} {}", record["component"], record["target"]);
        let answer = format!("{} {}", record["decision"], record["reason"]);
        let before = answers.entry(question).or_insert_with(|| answer.clone());
        assert_eq!(*before, answer, "{record}");
    }
    println!(
        "decided under {} policies of {} that were there",
        policies.len(),
        disk.seen.len()
    );
    assert!(
        policies.len() >= 5,
        "only {} policies were in force",
        policies.len()
    );
}
