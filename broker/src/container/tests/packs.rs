use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    super::{ContainerCgroup, Engine, EngineError, Event, Instance, Watch, lifecycle::State},
    Home,
};

#[tokio::test]
async fn no_engine_is_said_with_a_remedy() {
    let error = Engine::connect(
        Path::new("/nonexistent.sock"),
        Instance::of_state(Path::new("/x")),
    )
    .await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("`/nonexistent.sock`") && text.contains("remedy"),
        "{text}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Engine::connect(file.path(), Instance::of_state(Path::new("/x"))).await;
    assert!(
        matches!(error, Err(EngineError::Unreachable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_container_has_its_walls() {
    let home = Home::new().await;
    let up = home.up("walls").await;
    let user = "200002:200000";
    let code = r#"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def errno(number, *args):
    ctypes.set_errno(0)
    return "ok" if libc.syscall(number, *args) >= 0 else os.strerror(ctypes.get_errno())
def attempt(f):
    try: return f() or "ok"
    except OSError as e: return e.strerror
status = dict(l.split(":", 1) for l in open("/proc/self/status") if ":" in l)
print("ids", os.getuid(), os.getgid(), os.getgroups())
print("caps", status["CapEff"].strip(), status["CapBnd"].strip(), "nnp", status["NoNewPrivs"].strip(), "seccomp", status["Seccomp"].strip())
print("root", attempt(lambda: open("/x", "w")), "|", attempt(lambda: open("/opt/x", "w")), "|", attempt(lambda: open("/run/rumi/x", "w")), "|", attempt(lambda: open("/usr/libexec/rumi/guest", "a")))
print("tmp", oct(os.stat("/tmp").st_mode), attempt(lambda: open("/tmp/x", "w").close()))
print("full", attempt(lambda: open("/tmp/big", "wb").write(b"x" * (9 << 20)) and None))
print("net", sorted(n for _, n in socket.if_nameindex()))
print("shm", os.path.exists("/dev/shm"))
print("host", socket.gethostname())
print("io_uring", errno(425, 1, None), "ptrace", errno(101, 0, 0, 0, 0), "shmget", errno(29, 0, 4096, 0o1600), "mq", errno(240, b"x", 0o102, 0o600, None), "unshare", errno(272, 0x10000000), "userfaultfd", errno(323, 1), "bpf", errno(321, 0, None, 0), "keyctl", errno(250, 0, -3, 0))
print("alg", attempt(lambda: socket.socket(38, socket.SOCK_SEQPACKET).close()), "vsock", attempt(lambda: socket.socket(40, socket.SOCK_STREAM).close()), "inet", attempt(lambda: socket.socket().close()))
print("landlock", errno(444, None, 0, 1))
print("core", __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE))
"#;
    let text = home.python(&up.container, user, code).await;
    let wanted = [
        "ids 200002 200000 [200000]",
        "caps 0000000000000000 0000000000000000 nnp 1 seccomp 2",
        "root Read-only file system | Read-only file system | Read-only file system | Permission denied",
        "tmp 0o41777 ok",
        "full No space left on device",
        "net ['lo']",
        "shm False",
        "host walls",
        "io_uring Operation not permitted ptrace Operation not permitted shmget Operation not permitted mq Operation not permitted unshare Operation not permitted userfaultfd Operation not permitted bpf Operation not permitted keyctl Operation not permitted",
        "alg Operation not permitted vsock Operation not permitted inet ok",
        "core (0, 0)",
    ];
    for line in wanted {
        // The guest is root's and read-only both; which one is said first is the kernel's choice.
        let also = line.replace("Permission denied", "Read-only file system");
        assert!(
            text.lines().any(|l| l == line || l == also),
            "no `{line}` in\n{text}"
        );
    }
    // ENOSYS where the kernel has none; never refused by the filter.
    assert!(!text.contains("landlock Operation not permitted"), "{text}");
}

#[tokio::test]
async fn unmodified_software_finds_its_surroundings() {
    let home = Home::new().await;
    let up = home.up("around").await;
    let code = r#"
import socket
print("names", [line for line in open("/etc/resolv.conf").read().splitlines() if line and not line.startswith('#')])
for kind, address in ((socket.SOCK_DGRAM, ("127.0.0.1", 53)), (socket.SOCK_STREAM, ("127.64.0.9", 443))):
    socket.socket(socket.AF_INET, kind).bind(address)
    print("bound", address)
try:
    socket.create_connection(("192.0.2.1", 443), 5)
except OSError as e:
    print("beyond", e.strerror)
"#;
    let text = home.python(&up.container, "200002:200000", code).await;
    let wanted = [
        "names ['nameserver 127.0.0.1', 'options timeout:2 attempts:2']",
        "bound ('127.0.0.1', 53)",
        "bound ('127.64.0.9', 443)",
        "beyond Network is unreachable",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "{text}");
}

#[tokio::test]
async fn what_is_mounted_later_below_the_run_directory_appears() {
    let home = Home::new().await;
    let up = home.up("slave").await;
    let point = home.at("run").join("slave/files");
    rustix::mount::mount_bind(home.at("workspace"), &point).unwrap();
    fs::write(home.at("workspace/mark"), "later").unwrap();
    let text = home
        .python(
            &up.container,
            "200001:200000",
            "print(open('/run/rumi/files/mark').read())",
        )
        .await;
    rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(text, "later");
}

#[tokio::test]
async fn containers_are_adopted_by_the_next_broker_and_by_no_other() {
    let home = Home::new().await;
    let up = home.up("adopted").await;
    let again = Engine::connect(
        Path::new("/var/run/docker.sock"),
        home.engine.instance().clone(),
    )
    .await
    .unwrap();
    assert_eq!(again.list().await.unwrap(), std::slice::from_ref(&up));
    let other = Home::new().await;
    assert_eq!(other.engine.list().await.unwrap(), []);
    assert!(matches!(
        home.try_up("adopted").await,
        Err(EngineError::AlreadyUp { .. })
    ));
    // One that ended makes way.
    home.engine
        .docker()
        .kill_container(up.container.as_str(), None)
        .await
        .unwrap();
    let ended = loop {
        let found = home.engine.list().await.unwrap().remove(0);
        if found.pid().is_none() {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(
        ended.state,
        State::Ended {
            exit_code: 137,
            out_of_memory: false
        }
    );
    let new = home.up("adopted").await;
    assert_ne!(new.container, up.container);
    home.engine
        .down(&new.container, Duration::from_secs(2))
        .await
        .unwrap();
    home.engine
        .down(&new.container, Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(home.engine.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_container_that_cannot_start_leaves_nothing() {
    let home = Home::new().await;
    fs::set_permissions(home.at("guest"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = home.try_up("broken").await.unwrap_err().to_string();
    assert!(text.contains("start"), "{text}");
    assert_eq!(home.engine.list().await.unwrap(), []);
}

#[tokio::test]
async fn workers_run_as_their_own_users_and_events_tell_their_end() {
    let home = Home::new().await;
    let (send, mut events) = mpsc::channel(64);
    let watch = Watch::start(&home.engine, send);
    assert!(matches!(events.recv().await, Some(Event::Listed(list)) if list.is_empty()));
    let up = home.up("events").await;
    let second = up.components[1].component.clone();
    home.engine.exec_worker(&up, &second).await.unwrap();
    let mark = home.at("workspace/worker-200002");
    let end = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(&mark).ok().as_deref() != Some("events:tool:two") {
        assert!(Instant::now() < end, "the worker did not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fs::write(home.at("workspace/leave"), "").unwrap();
    let exec = home.engine.exec_worker(&up, &second).await.unwrap();
    while home
        .engine
        .docker()
        .inspect_exec(exec.as_str())
        .await
        .unwrap()
        .running
        == Some(true)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    home.engine
        .docker()
        .kill_container(up.container.as_str(), None)
        .await
        .unwrap();
    home.engine
        .down(&up.container, Duration::from_secs(1))
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv())
            .await
            .unwrap()
            .unwrap();
        match event {
            Event::Started(of) if of.container == up.container => seen.push("started"),
            Event::ExecDied {
                of,
                exec: ended,
                exit_code,
            } if ended == exec => {
                assert_eq!((of.pack.as_str(), exit_code), ("events", 7));
                seen.push("exec");
            }
            Event::Died { of, exit_code } => {
                assert_eq!((of.container, exit_code), (up.container.clone(), 137));
                seen.push("died");
            }
            Event::Removed(_) => {
                seen.push("removed");
                break;
            }
            _ => {}
        }
    }
    assert!(
        seen.starts_with(&["started"]) && seen.contains(&"died"),
        "{seen:?}"
    );
    drop(events);
    tokio::time::timeout(Duration::from_secs(10), watch)
        .await
        .unwrap()
        .unwrap();
}

/// A socket in front of the engine's, whose connections can be cut.
struct Cuttable {
    path: std::path::PathBuf,
    links: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: JoinHandle<()>,
}

impl Cuttable {
    fn new(path: std::path::PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let links = Arc::new(Mutex::new(Vec::new()));
        let kept = links.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let link = tokio::spawn(async move {
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                });
                kept.lock().unwrap().push(link);
            }
        });
        Self {
            path,
            links,
            accepting,
        }
    }

    /// Like an engine that goes away: nothing listens, all connections are cut.
    fn cut(self) {
        self.accepting.abort();
        fs::remove_file(&self.path).unwrap();
        for link in self.links.lock().unwrap().drain(..) {
            link.abort();
        }
    }
}

#[tokio::test]
async fn an_engine_that_comes_back_is_asked_for_all_containers_again() {
    let home = Home::new().await;
    let up = home.up("back").await;
    let socket = home.at("engine.sock");
    let way = Cuttable::new(socket.clone());
    let engine = Engine::connect(&socket, home.engine.instance().clone())
        .await
        .unwrap();
    let (send, mut events) = mpsc::channel(64);
    Watch::start(&engine, send);
    let first = events.recv().await;
    assert!(matches!(first, Some(Event::Listed(list)) if list == std::slice::from_ref(&up)));
    way.cut();
    home.engine
        .down(&up.container, Duration::ZERO)
        .await
        .unwrap();
    let mut again = None;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv());
        match event.await.unwrap().unwrap() {
            Event::Lost(_) => {
                again.get_or_insert_with(|| Cuttable::new(socket.clone()));
            }
            Event::Listed(list) => {
                assert_eq!(list, []);
                break;
            }
            _ => {}
        }
    }
    assert!(again.is_some(), "nobody said that the engine was away");
}

#[tokio::test]
async fn output_is_kept_and_followed() {
    let home = Home::new().await;
    let up = home.up("logs").await;
    let mut lines = Box::pin(home.engine.logs(&up.container, Some(10), true));
    let line = tokio::time::timeout(Duration::from_secs(10), lines.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!((line.text.as_str(), line.error), ("guest is up", false));
    assert!(line.time.starts_with("20"), "{line:?}");
    assert_eq!(home.engine.last_words(&up.container).await, "guest is up");
}

#[tokio::test]
async fn usage_is_read_from_the_groups() {
    let home = Home::new().await;
    let up = home.up("usage").await;
    let usage = ContainerCgroup::of_init(up.pid().unwrap())
        .unwrap()
        .usage()
        .unwrap();
    assert_eq!(usage.memory_limit, Some(128 << 20));
    assert_eq!(usage.pids_limit, Some(50));
    assert!(
        usage.pids >= 1 && usage.memory_bytes > 0 && usage.cpu_usec > Some(0),
        "{usage:?}"
    );
}

/// Not a test of right or wrong: prints what starting costs. Run with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_starting_twenty() {
    for concurrency in [1, 2, 4, 8] {
        let home = Home::new().await;
        let begin = Instant::now();
        let home = &home;
        let ups: Vec<_> = futures_util::stream::iter(0..20)
            .map(|number| async move { home.up(&format!("p{number}")).await })
            .buffer_unordered(concurrency)
            .collect()
            .await;
        let up = begin.elapsed();
        let begin = Instant::now();
        for running in &ups {
            home.engine
                .exec_worker(running, &running.components[1].component)
                .await
                .unwrap();
        }
        let exec = begin.elapsed() / 20;
        let begin = Instant::now();
        home.engine.list().await.unwrap();
        println!(
            "20 up, {concurrency} at once: {up:?}; one exec: {exec:?}; list of 20: {:?}",
            begin.elapsed()
        );
    }
}
