//! What a pack may try on `/files`, and what the host's files do under it meanwhile.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rumi_tests::{Broker, Called, Home, write_snippets};
use serde_json::json;

const ACTOR: &str = "climber:tool:actor";
const NONE: &str = "climber:tool:none";

fn climber() -> &'static Broker {
    static CLIMBER: OnceLock<Broker> = OnceLock::new();
    CLIMBER.get_or_init(|| {
        let home = Home::new();
        write_snippets(&home, "climber", &["actor", "none"]);
        home.file("in/plain", "plain");
        home.file("secret/key", "canary-outside");
        let (read, write) = (home.data("in"), home.data("out"));
        let reading = json!({"enabled": true, "directories": [read, write]});
        let writing = json!({"enabled": true, "directories": [write]});
        home.grant(ACTOR, &json!({"file_read": reading, "file_write": writing}));
        let broker = Broker::start(home);
        broker.up(&["climber"]);
        broker
    })
}

fn data(name: &str) -> PathBuf {
    climber().home().base().join("data").join(name)
}

/// Runs Python with `at(name)`, and `tried(what)`, which gives an error's number or what was done.
#[track_caller]
fn python(component: &str, code: &str) -> Called {
    let prelude = "import os, errno\n\
        def at(name): return '/files' + args['base'] + '/' + name\n\
        def tried(what):\n\
        \x20try: return what()\n\
        \x20except OSError as e: return errno.errorcode[e.errno]\n";
    let base = climber().home().base().join("data");
    climber().run_python(
        component,
        &format!("{prelude}{code}"),
        &json!({"base": base}),
    )
}

#[test]
fn no_spelling_and_no_link_leads_out_of_a_granted_directory() {
    let outside = data("secret/key");
    symlink(&outside, data("in/absolute")).unwrap();
    symlink("../secret/key", data("in/relative")).unwrap();
    symlink("../secret", data("in/directory")).unwrap();
    symlink("loop", data("in/loop")).unwrap();
    symlink("/proc/self/root/etc/passwd", data("in/magic")).unwrap();
    symlink("plain", data("in/inside")).unwrap();
    let code = r#"
names = ['in/absolute', 'in/relative', 'in/directory/key', 'in/loop', 'in/magic', 'secret/key',
         'in/../secret/key', 'in/%2e%2e/secret/key']
out = [tried(lambda: open(at(name)).read()) for name in names]
out.append(tried(lambda: open('/files/etc/passwd').read()))
out.append(tried(lambda: open('/files/proc/self/environ').read()))
out.append([open(at('in/inside')).read(), os.readlink(at('in/inside'))])
"#;
    let tried = python(ACTOR, code);
    let answers = tried.data().as_array().unwrap();
    let (last, refused) = answers.split_last().unwrap();
    assert_eq!(*last, json!(["plain", "plain"]));
    for answer in refused {
        let known = ["EACCES", "EXDEV", "ELOOP", "ENOENT"];
        assert!(known.contains(&answer.as_str().unwrap()), "{answers:?}");
    }
    assert!(!tried.response.result_json.contains("canary"));
}

#[test]
fn what_is_swapped_for_a_link_while_it_is_opened_leads_nowhere() {
    let (one, other) = (data("in/swapped"), data("in/swapping"));
    fs::write(&one, "inside").unwrap();
    symlink(data("secret/key"), &other).unwrap();
    let stop = AtomicBool::new(false);
    let called = std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = rustix::fs::CWD;
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(at, &one, at, &other, exchange).unwrap();
            }
        });
        let code = r#"
import time
seen, end = {}, time.monotonic() + 10
while time.monotonic() < end:
    got = str(tried(lambda: open(at('in/swapped')).read()))
    seen[got] = seen.get(got, 0) + 1
out = seen
"#;
        let called = python(ACTOR, code);
        stop.store(true, Ordering::Relaxed);
        called
    });
    let seen = called.data().as_object().unwrap();
    assert!(seen.contains_key("inside"), "{seen:?}");
    assert!(seen.len() > 1, "nothing was swapped: {seen:?}");
    assert!(!seen.contains_key("canary-outside"), "{seen:?}");
}

#[test]
fn a_directory_that_is_swapped_while_files_are_made_in_it_takes_none_outside() {
    let (one, other) = (data("out/place"), data("out/elsewhere"));
    fs::create_dir(&one).unwrap();
    symlink(data("secret"), &other).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = rustix::fs::CWD;
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(at, &one, at, &other, exchange).unwrap();
            }
        });
        let code = r#"
import time
out, n, end = 0, 0, time.monotonic() + 10
while time.monotonic() < end:
    n += 1
    if tried(lambda: open(at('out/place/%d' % n), 'w').close()) is None: out += 1
    tried(lambda: os.unlink(at('out/place/key')))
    tried(lambda: os.rename(at('out/place/key'), at('out/key')))
"#;
        let called = python(ACTOR, code);
        stop.store(true, Ordering::Relaxed);
        assert!(called.data().as_u64().unwrap() > 0, "{called:?}");
    });
    let names = fs::read_dir(data("secret")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["key"]);
}

#[test]
fn only_files_and_directories_are_made_and_no_rights_that_outlive_the_grant() {
    fs::write(data("out/linked"), "x").unwrap();
    fs::hard_link(data("out/linked"), data("in/linked")).unwrap();
    let status = Command::new("mkfifo").arg(data("in/pipe")).status();
    assert!(status.unwrap().success());
    let code = r#"
open(at('out/mine'), 'w').close()
out = [tried(lambda: os.symlink('/etc/passwd', at('out/s'))),
       tried(lambda: os.link(at('out/mine'), at('out/l'))),
       tried(lambda: os.mkfifo(at('out/p'))),
       tried(lambda: os.mknod(at('out/d'), 0o20666, os.makedev(1, 3))),
       tried(lambda: os.chmod(at('out/mine'), 0o4755)),
       tried(lambda: os.chown(at('out/mine'), 0, 0)),
       tried(lambda: os.setxattr(at('out/mine'), 'user.x', b'1')),
       tried(lambda: open(at('out/linked'), 'a')),
       tried(lambda: open(at('in/pipe'))),
       tried(lambda: os.rename(at('out/mine'), at('in/mine'))),
       tried(lambda: os.rmdir(at('out'))),
       tried(lambda: open(at('out/' + 'n' * 256), 'w')),
       tried(lambda: open(at('out').encode() + b'/\xff', 'w'))]
os.chmod(at('out/mine'), 0o777)
fd = os.open(at('out/made'), os.O_CREAT | os.O_WRONLY, 0o7777); os.close(fd)
for name in ['n' * 255, 'new\nline', ' ', '\\', '$HOME', '%2e%2e']:
    open(at('out/' + name), 'w').close(); os.unlink(at('out/' + name))
"#;
    let tried = python(ACTOR, code);
    let (refused, odd) = ("EACCES", "EILSEQ");
    assert_eq!(
        tried.data(),
        &json!([
            "EPERM",
            "EPERM",
            "EPERM",
            "EPERM",
            "EPERM",
            "EPERM",
            "ENOTSUP",
            refused,
            refused,
            refused,
            refused,
            "ENAMETOOLONG",
            odd,
        ])
    );
    for name in ["out/mine", "out/made"] {
        let made = fs::metadata(data(name)).unwrap();
        assert_eq!(made.mode() & 0o7777, 0o644, "{name}");
    }
    assert!(fs::metadata(data("in/pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn a_neighbour_without_a_grant_sees_nothing_even_of_what_is_open() {
    let code = r#"
import socket, array, time
s = socket.socket(socket.AF_UNIX); s.bind('/tmp/handover'); s.listen()
os.chmod('/tmp/handover', 0o777)
out = 'nobody came'
s.settimeout(20)
c, _ = s.accept()
with open(at('in/plain'), 'rb') as f:
    c.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [f.fileno()]))])
    out = c.recv(100).decode()
"#;
    let taking = r#"
import socket, array, time
c = socket.socket(socket.AF_UNIX)
for _ in range(200):
    try: c.connect('/tmp/handover'); break
    except OSError: time.sleep(0.05)
_, ancillary, _, _ = c.recvmsg(10, 1000)
fd = array.array('i', ancillary[0][2])[0]
out = [tried(lambda: os.read(fd, 10).decode()), tried(lambda: os.fstat(fd).st_size),
       tried(lambda: os.listdir(at('in'))), os.listdir('/files')]
c.send(b'taken')
"#;
    let (given, taken) = std::thread::scope(|scope| {
        let given = scope.spawn(|| python(ACTOR, code));
        let taken = python(NONE, taking);
        (given.join().unwrap(), taken)
    });
    assert_eq!(given.data(), &json!("taken"));
    assert_eq!(taken.data(), &json!(["EACCES", "EACCES", "EACCES", []]));
}

#[test]
fn root_of_the_host_and_strangers_are_refused_and_recorded_once() {
    let point = climber().home().run().join("packs/climber/files");
    for _ in 0..10 {
        let refused = fs::read_dir(&point).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(13));
    }
    let strangers = || {
        let of = |r: &serde_json::Value| r["reason"] == "unknown_component";
        climber().audit().into_iter().filter(of).count()
    };
    rumi_tests::within(Duration::from_secs(5), "a record", || strangers() == 1);
    assert_eq!(strangers(), 1);
}

#[test]
fn open_files_and_known_names_are_bounded() {
    let code = r#"
import signal
held, children, failed = 0, [], None
while failed is None:
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        got = 0
        try:
            while got < 200: os.open(at('in/plain'), os.O_RDONLY); got += 1
            os.write(w, b'%d -' % got)
        except OSError as e: os.write(w, b'%d %s' % (got, errno.errorcode[e.errno].encode()))
        signal.pause()
    children.append(child)
    got, why = os.read(r, 100).decode().split()
    held += int(got); failed = None if why == '-' else why
out = [held, failed]
for child in children: os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
for _ in range(100):
    again = tried(lambda: open(at('in/plain')).read())
    if again == 'plain': break
    import time; time.sleep(0.05)
out.append(again)
"#;
    assert_eq!(
        python(ACTOR, code).data(),
        &json!([1024, "EMFILE", "plain"])
    );
}

#[test]
fn a_directory_of_very_many_files_costs_the_broker_little() {
    const MANY: usize = 100_000;
    let many = data("in/many");
    fs::create_dir(&many).unwrap();
    for number in 0..MANY {
        fs::File::create(many.join(number.to_string())).unwrap();
    }
    // What is shown once has been allocated once.
    python(ACTOR, "out = len(os.listdir(at('in')))");
    let before = peak(climber().pid());
    let code = r#"
out = [len(os.listdir(at('in/many')))]
import time
looks, end = 0, time.monotonic() + 15
for name in os.listdir(at('in/many')):
    if time.monotonic() > end: break
    looks += os.stat(at('in/many/' + name)).st_size + 1
out.append(looks > 100)
"#;
    assert_eq!(python(ACTOR, code).data(), &json!([MANY, true]));
    let grown = peak(climber().pid()).saturating_sub(before);
    assert!(grown <= 16 * 1024, "the broker's peak grew by {grown} KiB");
    fs::remove_dir_all(many).unwrap();
}

/// Most memory that a process ever had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}
