//! `/files`: programs that know nothing of rumi read and write what was granted, and nothing else.

use std::{fs, os::unix::fs::MetadataExt as _, sync::OnceLock, time::Duration};

use rumi_tests::{Broker, Called, Home, within, write_snippets};
use serde_json::{Value, json};

/// Who owns the data of a home.
const OWNER: u32 = 54_321;
const READER: &str = "mounted:tool:reader";
const WRITER: &str = "mounted:tool:writer";
const BOTH: &str = "mounted:tool:both";
const NONE: &str = "mounted:tool:none";
const PASSED: &str = "mounted:tool:passed";
const CHANGING: &str = "mounted:tool:changing";
const SINGLE: &str = "mounted:tool:single";

fn mounted() -> &'static Broker {
    static MOUNTED: OnceLock<Broker> = OnceLock::new();
    MOUNTED.get_or_init(|| {
        let home = Home::new();
        let names = [
            "reader", "writer", "both", "none", "changing", "passed", "single",
        ];
        write_snippets(&home, "mounted", &names);
        home.file("in/x.csv", "name,count\nnail,3\nscrew,4\n");
        home.file("in/deep/er/y.txt", "deep");
        home.file("in/drafts/z.txt", "unfinished");
        let (read, write) = (home.data("in"), home.data("out"));
        let reading = json!({"enabled": true, "directories": [read], "exclude": ["drafts"]});
        let writing = json!({"enabled": true, "directories": [write], "max_bytes": 10_000_000});
        home.grant(READER, &json!({"file_read": reading}));
        home.grant(WRITER, &json!({"file_write": writing}));
        let passed = json!({"enabled": true, "directories": [read], "passthrough": true});
        home.grant(PASSED, &json!({"file_read": passed}));
        let single = |files: &[&str]| {
            let files: Vec<_> = files
                .iter()
                .map(|f| home.base().join("data").join(f))
                .collect();
            json!({"enabled": true, "directories": [], "files": files})
        };
        home.file("single/a.txt", "granted");
        home.file("single/b.txt", "not granted");
        std::os::unix::fs::symlink("b.txt", home.data("single").join("link.txt")).unwrap();
        home.grant(
            SINGLE,
            &json!({
                "file_read": single(&["single/a.txt", "single/link.txt", "single/new.txt"]),
                "file_write": single(&["single/new.txt", "single/moved.txt"]),
            }),
        );
        let both = json!({"enabled": true, "directories": [read, write]});
        home.grant(BOTH, &json!({"file_read": both, "file_write": writing}));
        let broker = Broker::start(home);
        broker.up(&["mounted"]);
        broker
    })
}

/// Runs Python with `at(name)`, which is where a file of the test's data appears.
#[track_caller]
fn python(component: &str, code: &str) -> Called {
    let broker = mounted();
    let base = broker.home().base().join("data");
    let prelude = "import os\ndef at(name): return '/files' + args['base'] + '/' + name\n";
    broker.run_python(
        component,
        &format!("{prelude}{code}"),
        &json!({"base": base}),
    )
}

/// Outcomes of what was decided on this path: they name the decision, and not the path again.
fn outcomes_of(broker: &Broker, target: &str) -> Vec<Value> {
    let records = broker.audit();
    let of = |record: &&Value| record["target"] == json!(target) && record["phase"] == "decision";
    let decided: Vec<Value> = records.iter().filter(of).map(|r| r["id"].clone()).collect();
    let outcome = |r: &Value| r["phase"] == "outcome" && decided.contains(&r["id"]);
    records.into_iter().filter(outcome).collect()
}

#[test]
fn a_program_reads_what_was_granted_and_its_neighbour_is_refused() {
    let broker = mounted();
    let code = "import csv\nout = list(csv.DictReader(open(at('in/x.csv'))))";
    let rows = python(READER, code);
    assert_eq!(rows.data()[1], json!({"name": "screw", "count": "4"}));
    let refused = python(NONE, code);
    assert_eq!(refused.error_type(), "PermissionError");
    let denial = &refused.response.denials[0];
    assert_eq!(
        (denial.permission.as_str(), denial.reason.as_str()),
        ("file_read", "no_grant")
    );
    let remedy = format!("packctl grant add {NONE} file_read");
    assert!(denial.remedy.starts_with(&remedy), "{denial:?}");
    assert_eq!(
        python(NONE, "out = os.listdir('/files')").data(),
        &json!([])
    );
    let path = broker.home().base().join("data/in/x.csv");
    within(Duration::from_secs(5), "an outcome with the bytes", || {
        let read = |record: &Value| record["detail"]["bytes_out"] == json!(26);
        outcomes_of(broker, path.to_str().unwrap()).iter().any(read)
    });
}

#[test]
fn a_walk_shows_granted_directories_under_their_own_paths_and_nothing_beside_them() {
    let code = "out = [[r, sorted(d), sorted(f)] for r, d, f in os.walk(at(''))]";
    let walked = python(READER, code);
    let base = mounted().home().base().join("data");
    let at = |name: &str| json!(format!("/files{}/{name}", base.display()));
    assert_eq!(
        walked.data(),
        &json!([
            [at(""), ["in"], []],
            [at("in"), ["deep"], ["x.csv"]],
            [at("in/deep"), ["er"], []],
            [at("in/deep/er"), [], ["y.txt"]],
        ])
    );
    let above = python(
        READER,
        "out = [os.listdir('/files'), os.stat(at('')).st_mode & 0o222]",
    );
    assert_eq!(above.data(), &json!([["tmp"], 0]));
    let draft = python(READER, "out = open(at('in/drafts/z.txt')).read()");
    assert_eq!(draft.error_type(), "PermissionError");
    assert_eq!(draft.response.denials[0].reason, "pattern_excluded");
}

#[test]
fn a_single_file_is_granted_without_its_neighbours() {
    let broker = mounted();
    let code = r#"
def attempt(what):
    try: return what()
    except OSError as error: return error.strerror
def write(name, mode='w'):
    with open(at(name), mode) as f: f.write('made')
    return 'written'
out = {
    'way': sorted(os.listdir(at(''))),
    'before': sorted(os.listdir(at('single'))),
    'read': open(at('single/a.txt')).read(),
    'beside': attempt(lambda: open(at('single/b.txt')).read()),
    'link': attempt(lambda: open(at('single/link.txt')).read()),
    'below': attempt(lambda: os.stat(at('single/a.txt/x'))),
    'write read': attempt(lambda: write('single/a.txt')),
    'write beside': attempt(lambda: write('single/c.txt')),
    'write': attempt(lambda: write('single/new.txt')),
    'append': attempt(lambda: write('single/new.txt', 'a')),
    'again': open(at('single/new.txt')).read(),
    'after': sorted(os.listdir(at('single'))),
    'move out': attempt(lambda: os.rename(at('single/new.txt'), at('single/c.txt'))),
    'move': attempt(lambda: os.rename(at('single/new.txt'), at('single/moved.txt'))),
    'remove': attempt(lambda: os.unlink(at('single/moved.txt'))),
    'remove beside': attempt(lambda: os.unlink(at('single/b.txt'))),
    'last': sorted(os.listdir(at('single'))),
}
"#;
    let denied = "Permission denied";
    assert_eq!(
        python(SINGLE, code).data(),
        &json!({
            "way": ["single"], "before": ["a.txt", "link.txt"], "read": "granted", "beside": denied,
            "link": denied, "below": "Not a directory", "write read": denied, "write beside": denied,
            "write": "written", "append": "written", "again": "mademade",
            "after": ["a.txt", "link.txt", "new.txt"], "move out": denied, "move": null,
            "remove": null, "remove beside": denied, "last": ["a.txt", "link.txt"],
        })
    );
    // The same by request, where a symlink is followed before it is judged.
    let peer = broker.as_component(SINGLE);
    let path = |name: &str| broker.home().base().join("data/single").join(name);
    let read = |name: &str| peer.json("FileRead", &json!({"path": path(name)})).status;
    assert_eq!(read("a.txt"), 200);
    for name in [
        "b.txt",
        "link.txt",
        "new.txt/../b.txt",
        "a.txt/b",
        "moved.txt",
    ] {
        assert_ne!(read(name), 200, "{name}");
    }
    let list = peer.json("FileList", &json!({"path": path("a.txt").parent()}));
    assert_eq!(list.status, 403);
    let write = |name: &str| {
        let message = json!({"path": path(name), "data": "eA=="});
        peer.json("FileWrite", &message).status
    };
    assert_eq!(
        (write("new.txt"), write("b.txt"), write("x")),
        (200, 403, 403)
    );
    assert_eq!(fs::read_to_string(path("b.txt")).unwrap(), "not granted");
    // Whoever puts a symlink in the place of the file gives nothing away.
    fs::remove_file(path("new.txt")).unwrap();
    std::os::unix::fs::symlink("b.txt", path("new.txt")).unwrap();
    assert_eq!((read("new.txt"), write("new.txt")), (403, 403));
    fs::remove_file(path("new.txt")).unwrap();
    assert_eq!(fs::read_to_string(path("b.txt")).unwrap(), "not granted");
}

#[test]
fn files_are_written_as_programs_write_them() {
    let broker = mounted();
    let code = r#"
import shutil
os.makedirs(at('out/w/sub'))
path = at('out/w/a.txt')
out = []
with open(path, 'w') as f: f.write('one\n')
with open(path, 'a') as f: f.write('two\n')
with open(path, 'r+') as f:
    f.write('ONE'); f.seek(0); out.append(f.read())
try: open(path, 'x')
except FileExistsError: out.append('exists')
os.rename(path, at('out/w/sub/b.txt'))
os.rename(at('out/w/sub'), at('out/w/moved'))
out.append(open(at('out/w/moved/b.txt')).read())
shutil.copy2(at('in/x.csv'), at('out/w/copy.csv'))
shutil.copytree(at('in/deep'), at('out/w/tree'))
os.truncate(at('out/w/copy.csv'), 4)
out.append(open(at('out/w/copy.csv')).read())
out.append(os.stat(at('out/w/copy.csv')).st_mtime == os.stat(at('in/x.csv')).st_mtime)
f = open(at('out/w/gone'), 'w+')
f.write('still there'); f.flush(); os.unlink(at('out/w/gone')); f.seek(0)
out.append([f.read(), os.fstat(f.fileno()).st_size, os.path.exists(at('out/w/gone'))])
try: os.rmdir(at('out/w/moved'))
except OSError as e: out.append(e.strerror)
shutil.rmtree(at('out/w/tree'))
out.append(sorted(os.listdir(at('out/w'))))
"#;
    let written = python(BOTH, code);
    assert_eq!(
        written.data(),
        &json!([
            "ONE\ntwo\n",
            "exists",
            "ONE\ntwo\n",
            "name",
            false,
            ["still there", 11, false],
            "Directory not empty",
            ["copy.csv", "moved"],
        ])
    );
    let made = broker.home().base().join("data/out/w/moved/b.txt");
    let metadata = fs::metadata(&made).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (OWNER, 0o644));
    assert_eq!(fs::read_to_string(made).unwrap(), "ONE\ntwo\n");
    let code = "open(at('out/big'), 'wb').truncate(10_000_001)";
    assert_eq!(
        python(BOTH, code).error()["message"],
        "[Errno 27] File too large"
    );
    let code = "f = open(at('out/big'), 'wb'); f.seek(9_999_999); f.write(b'xx'); f.flush()";
    assert_eq!(
        python(BOTH, code).error()["message"],
        "[Errno 27] File too large"
    );
}

#[test]
fn sqlite_works_in_both_of_its_modes_and_so_do_mapped_files() {
    let code = r#"
import mmap, sqlite3
out = []
for mode in ['delete', 'wal']:
    c = sqlite3.connect(at('out/%s.db' % mode))
    c.execute('pragma journal_mode=' + mode)
    c.execute('create table t(a, b)')
    c.executemany('insert into t values(?, ?)', [(i, str(i)) for i in range(1000)])
    c.commit()
    out.append(c.execute('select count(*), sum(a) from t').fetchone())
    c.close()
with open(at('out/mapped'), 'w+b') as f:
    f.write(b'x' * 10000); f.flush()
    m = mmap.mmap(f.fileno(), 0); m[0:3] = b'abc'; m.flush(); m.close()
out.append(open(at('out/mapped')).read(5))
with open(at('in/x.csv'), 'rb') as f:
    out.append(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:4].decode())
"#;
    let done = python(BOTH, code);
    assert_eq!(
        done.data(),
        &json!([[1000, 499_500], [1000, 499_500], "abcxx", "name"])
    );
    let mapped = mounted().home().base().join("data/out/mapped");
    assert_eq!(fs::read(mapped).unwrap()[..5], *b"abcxx");
}

#[test]
fn who_may_only_write_writes_and_neither_reads_nor_lists() {
    let code = r#"
open(at('out/by_writer'), 'w').write('text')
out = [os.stat(at('out/by_writer')).st_size]
for attempt in [lambda: open(at('out/by_writer')).read(), lambda: os.listdir(at('out')),
                lambda: open(at('out/by_writer'), 'r+'), lambda: open(at('in/x.csv'))]:
    try: attempt(); out.append('did')
    except PermissionError: out.append('refused')
os.unlink(at('out/by_writer'))
"#;
    let done = python(WRITER, code);
    let refused = "refused";
    assert_eq!(done.data(), &json!([4, refused, refused, refused, refused]));
}

#[test]
fn grants_come_and_go_below_a_running_program() {
    let broker = mounted();
    let live = broker.home().data("live");
    broker.home().file("live/f", "x".repeat(100_000));
    let look = "out = os.path.exists(at('live/f')) if os.path.exists(at('')) else None";
    assert_eq!(
        python(CHANGING, "out = os.listdir('/files')").data(),
        &json!([])
    );
    broker.grant(
        CHANGING,
        &json!({"file_read": {"enabled": true, "directories": [live]}}),
    );
    assert_eq!(python(CHANGING, look).data(), &json!(true));
    // Opened while it is granted, read and mapped until it is not.
    let code = r#"
import mmap, time
f = open(at('live/f'), 'rb', buffering=0)
d = os.open(at('live'), os.O_RDONLY)
out = {'first': len(f.read(1000))}
open('/workspace/ready', 'w').close()
end = time.monotonic() + 20
while time.monotonic() < end:
    try: f.seek(0); f.read(10); time.sleep(0.01)
    except OSError as e: out['read'] = e.strerror; break
for name, attempt in [('again', lambda: open(at('live/f'))), ('stat', lambda: os.stat(at('live/f'))),
                      ('list', lambda: os.listdir(at('live')))]:
    try: attempt(); out[name] = 'did'
    except OSError as e: out[name] = e.strerror
"#;
    let ready = broker.home().path().join("docker/sandbox/mounted");
    let called = std::thread::scope(|scope| {
        let call = scope.spawn(|| python(CHANGING, code));
        within(Duration::from_secs(10), "an open file", || {
            walk(&ready).iter().any(|path| path.ends_with("ready"))
        });
        broker.ungrant(CHANGING);
        call.join().unwrap()
    });
    let denied = "Permission denied";
    assert_eq!(
        called.data(),
        &json!({"first": 1000, "read": denied, "again": denied, "stat": denied, "list": denied})
    );
    let path = live.join("f");
    within(Duration::from_secs(5), "an outcome that says why", || {
        let revoked = |record: &Value| record["reason"] == "revoked";
        outcomes_of(broker, path.to_str().unwrap())
            .iter()
            .any(revoked)
    });
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn what_the_kernel_reads_by_itself_is_the_same_and_is_not_counted() {
    let broker = mounted();
    let path = broker.home().file("in/passed", "p".repeat(50_000));
    let code = r#"
files = [open(at('in/passed'), 'rb') for _ in range(5)]
out = [sum(len(f.read()) for f in files)]
try: open(at('in/passed'), 'r+b')
except OSError: out.append('refused')
"#;
    assert_eq!(python(PASSED, code).data(), &json!([250_000, "refused"]));
    // A neighbour that is copied for reads the same file at the same time.
    let copied = python(READER, "out = len(open(at('in/passed')).read())");
    assert_eq!(copied.data(), &json!(50_000));
    let lint = broker.packctl(&["grant", "lint"]);
    assert!(lint.stdout.contains("passthrough"), "{lint:?}");
    within(Duration::from_secs(5), "outcomes", || {
        let outcomes = outcomes_of(broker, path.to_str().unwrap());
        let of = |bytes: u64| {
            let with = |r: &&Value| r["detail"]["bytes_out"] == json!(bytes);
            outcomes.iter().filter(with).count()
        };
        // Without passthrough there would be five more that counted all bytes.
        of(50_000) == 1 && of(0) >= 5
    });
}

#[test]
fn looks_are_summed_in_the_log_and_refusals_are_not() {
    let broker = mounted();
    let before = broker.audit().len();
    let code = r#"
for _ in range(500): os.stat(at('in/x.csv'))
out = 0
for number in range(20):
    try: os.stat(at('other%d.txt' % number))
    except PermissionError: out += 1
"#;
    assert_eq!(python(BOTH, code).data(), &json!(20));
    std::thread::sleep(Duration::from_millis(1500));
    let records = broker.audit().split_off(before);
    let mine: Vec<&Value> = records.iter().filter(|r| r["component"] == BOTH).collect();
    let other = |r: &&&Value| {
        r["target"]
            .as_str()
            .is_some_and(|path| path.contains("/other"))
    };
    let denied = mine
        .iter()
        .filter(other)
        .filter(|r| r["decision"] == "deny");
    assert_eq!(denied.count(), 20);
    let sums = mine
        .iter()
        .filter(|r| r["action"] == "look" && r["phase"] == "outcome");
    let looks: u64 = sums
        .map(|r| r["detail"]["more"]["looks"].as_u64().unwrap())
        .sum();
    assert!(looks >= 500, "{looks}");
    let summed = mine
        .iter()
        .filter(|r| r["action"] == "look" && r["decision"] == "allow")
        .count();
    assert!(summed < 100, "{summed} records of looks");
    broker.verify().ok();
}
