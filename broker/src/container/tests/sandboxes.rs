use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::chown},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumi_policy::EnvKey;

use super::{
    super::{PackLimits, Places, Programs, SandboxSpec, clean_leftovers, run, terminal::shown_at},
    Home,
};
use crate::command::{Collected, Environment, Outcome, Stopped, Worker, collect, lines};

const PYTHON: &str = "/usr/bin/python3.11";

async fn spec(home: &Home, argv: &[&str]) -> SandboxSpec {
    let directory = home.at("project");
    fs::create_dir_all(&directory).unwrap();
    chown(&directory, Some(1234), Some(1235)).unwrap();
    SandboxSpec {
        image: home.base().await,
        directory: OwnedFd::from(fs::File::open(&directory).unwrap()),
        path: "/home/user/project".into(),
        uid: 1234,
        gid: 1235,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: extra(),
        tty: None,
        timeout: Duration::from_secs(20),
        limits: PackLimits {
            memory_bytes: 64 << 20,
            ..super::limits()
        },
        max_output: 1 << 20,
    }
}

fn extra() -> Environment {
    let key: EnvKey = "EXTRA".parse().unwrap();
    Environment::render(&[(key, "1".parse().unwrap())], &|_| Ok(None)).unwrap()
}

async fn running(
    home: &Home,
    spec: SandboxSpec,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
) -> Outcome {
    let (mounts, guest) = (home.at("mounts"), home.at("guest"));
    let places = Places {
        mounts: &mounts,
        guest: &guest,
    };
    run(&home.engine, spec, &places, worker, ending)
        .await
        .unwrap()
}

async fn outcome(home: &Home, spec: SandboxSpec, stdin: &'static [u8]) -> (Outcome, Collected) {
    let (asking, worker) = lines();
    let (outcome, said) = tokio::join!(
        running(home, spec, worker, std::future::pending()),
        collect(asking, Bytes::from_static(stdin)),
    );
    assert_eq!(
        fs::read_dir(home.at("mounts")).unwrap().count(),
        0,
        "a mount was left"
    );
    assert_eq!(
        clean_leftovers(&home.engine, &home.at("mounts"))
            .await
            .unwrap(),
        0,
        "a container was left"
    );
    (outcome, said)
}

#[tokio::test]
async fn a_command_sees_its_directory_and_nothing_else() {
    let home = Home::new().await;
    let code = "import os, sys; print(os.getcwd(), os.getuid(), os.getgid(), os.environ['EXTRA'], os.listdir('/home/user')); open('made', 'w').write(sys.stdin.read()); print('oops', file=sys.stderr); sys.exit(3)";
    let wanted = spec(&home, &[PYTHON, "-c", code]).await;
    let (outcome, said) = outcome(&home, wanted, b"from stdin").await;
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "/home/user/project 1234 1235 1 ['project']\n"
    );
    assert_eq!(String::from_utf8_lossy(&said.stderr), "oops\n");
    assert_eq!(
        (outcome.exit_code, outcome.truncated, outcome.stopped),
        (3, false, None)
    );
    assert_eq!(
        fs::read_to_string(home.at("project/made")).unwrap(),
        "from stdin"
    );
    println!("a sandboxed command took {:?}", outcome.duration);
}

#[tokio::test]
async fn arguments_are_never_read_by_a_shell() {
    let home = Home::new().await;
    let words = ["$(id)", "a;b", "`x`", "> /tmp/y", "", "new\nline"];
    let mut argv = vec![PYTHON, "-c", "import sys; print(sys.argv[1:])"];
    argv.extend(words);
    let (_, said) = outcome(&home, spec(&home, &argv).await, b"").await;
    assert_eq!(
        String::from_utf8_lossy(&said.stdout).trim(),
        format!("{words:?}").replace('"', "'").replace("\\'", "'")
    );
}

#[tokio::test]
async fn what_goes_on_too_long_or_too_large_is_stopped() {
    let home = Home::new().await;
    let cases: [(&str, Stopped); 5] = [
        (
            "import os, time; os.close(1); os.close(2); time.sleep(100)",
            Stopped::Timeout,
        ),
        (
            "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(100)",
            Stopped::Timeout,
        ),
        (
            "import os, sys\nwhile True: os.write(1, b'x' * 65536)",
            Stopped::OutputLimit,
        ),
        (
            "import os, sys\nwhile True: os.write(2, b'x' * 65536)",
            Stopped::OutputLimit,
        ),
        (
            "x = []\nwhile True: x.append(b'x' * 1000000)",
            Stopped::OutOfMemory,
        ),
    ];
    for (code, reason) in cases {
        let mut wanted = spec(&home, &[PYTHON, "-c", code]).await;
        wanted.timeout = if reason == Stopped::Timeout {
            Duration::from_secs(1)
        } else {
            Duration::from_secs(30)
        };
        let begin = Instant::now();
        let (outcome, said) = outcome(&home, wanted, b"").await;
        assert_eq!(outcome.stopped, Some(reason), "{code}");
        assert_eq!(outcome.truncated, reason == Stopped::OutputLimit);
        assert!(said.stdout.len() <= 1 << 20 && said.stderr.len() <= 1 << 20);
        assert_eq!(outcome.exit_code, 137, "{code}");
        assert!(
            begin.elapsed() < Duration::from_secs(15),
            "{code}: {:?}",
            begin.elapsed()
        );
    }
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_sandbox() {
    let home = Home::new().await;
    let code = "import os, time\ntry:\n    while True: os.fork()\nexcept OSError as e: print('refused', flush=True)\ntime.sleep(100)";
    let mut wanted = spec(&home, &[PYTHON, "-c", code]).await;
    wanted.timeout = Duration::from_secs(3);
    let (outcome, said) = outcome(&home, wanted, b"").await;
    assert_eq!(outcome.stopped, Some(Stopped::Timeout));
    assert!(said.stdout.starts_with(b"refused"));
}

#[tokio::test]
async fn a_revoked_command_is_ended_at_once() {
    let home = Home::new().await;
    let wanted = spec(&home, &[PYTHON, "-c", "import time; time.sleep(100)"]).await;
    let (asking, worker) = lines();
    let mut revoked = Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        revoked = Instant::now();
        Stopped::Revoked
    };
    let outcome = running(&home, wanted, worker, ending).await;
    drop(asking);
    assert_eq!(outcome.stopped, Some(Stopped::Revoked));
    assert!(
        revoked.elapsed() < Duration::from_secs(10),
        "{:?}",
        revoked.elapsed()
    );
}

#[tokio::test]
async fn a_request_that_goes_away_takes_its_sandbox_along() {
    let home = Home::new().await;
    let wanted = spec(&home, &[PYTHON, "-c", "import time; time.sleep(100)"]).await;
    let (_asking, worker) = lines();
    let dropped = tokio::time::timeout(
        Duration::from_millis(1500),
        running(&home, wanted, worker, std::future::pending()),
    )
    .await;
    assert!(dropped.is_err());
    let end = Instant::now() + Duration::from_secs(10);
    while !home.engine.identifiers("sandbox").await.unwrap().is_empty() {
        assert!(Instant::now() < end, "the sandbox goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_code_of_127() {
    let home = Home::new().await;
    let wanted = spec(&home, &["/nonexistent"]).await;
    let (outcome, said) = outcome(&home, wanted, b"").await;
    assert_eq!(outcome.exit_code, 127);
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(error.contains("cannot start `/nonexistent`"), "{error}");
    assert_eq!(said.stdout, b"", "the guest's own byte is not passed on");
}

#[tokio::test]
async fn programs_are_resolved_in_the_image() {
    let home = Home::new().await;
    let programs = Programs::default();
    let base = home.base().await;
    let begin = Instant::now();
    let index = programs
        .of(&home.engine, &base, &home.at("guest"))
        .await
        .unwrap();
    assert_eq!(index.resolve("python3.11"), Some(PYTHON));
    assert_eq!(index.resolve("/usr/bin/python3"), Some(PYTHON));
    assert_eq!(index.resolve("no-such-program"), None);
    // The first asks a container of the image, the second nobody.
    let first = begin.elapsed();
    let begin = Instant::now();
    programs
        .of(&home.engine, &base, &home.at("guest"))
        .await
        .unwrap();
    assert!(begin.elapsed() < first / 3, "{first:?}");
}

#[test]
fn directories_of_the_image_are_not_covered() {
    for (path, shown) in [
        ("/home/user/project", "/home/user/project"),
        ("/usrlocal", "/usrlocal"),
        ("/", "/work"),
        ("/usr", "/work"),
        ("/usr/local/src", "/work"),
        ("/etc/x", "/work"),
    ] {
        assert_eq!(shown_at(Path::new(path)), Path::new(shown));
    }
}
