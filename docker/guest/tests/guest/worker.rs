//! The worker against a broker on a real socket and the real Python runner.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::support::{Attachment, Broker, Guest, Place, children, eventually, python, signal};
use rumi_proto::v1::{Wipe, worker_command, worker_event::Event};
use rustix::process::Signal;
use serde_json::json;

const ECHO: &str = "def run(args):\n    print('said')\n    return {'got': args}\n";

fn worker_of(place: &Place) -> Guest {
    Guest::start(&[], "worker", &place.worker_arguments())
}

/// The next event that `wanted` has something to say about.
async fn until<T>(attachment: &mut Attachment, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = attachment.event().await.expect("the worker is gone");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn failure(event: Event) -> Option<String> {
    match event {
        Event::SpareFailed(failed) => Some(failed.message),
        _ => None,
    }
}

#[tokio::test]
async fn makes_spares_that_answer_calls() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    let tool = place.file("echo_tool.py", ECHO);
    for number in 0..3 {
        attachment.make_spare().await;
        let spare = broker.spare().await;
        let zygote = children(worker.pid());
        assert_eq!(zygote.len(), 1);
        assert!(children(zygote[0]).contains(&spare.pid));
        let answer = spare.call(&tool, &json!({"n": number}));
        assert_eq!(
            answer["result"],
            json!({"ok": true, "data": {"got": {"n": number}}})
        );
        assert_eq!(answer["stdout"], "said\n");
    }
}

#[tokio::test]
async fn the_runner_gets_nothing_but_its_own_descriptors() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    let _spare = broker.spare().await;
    let zygote = children(worker.pid())[0];
    let mut open: Vec<i32> = fs::read_dir(format!("/proc/{zygote}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // Whoever runs the tests may have left descriptors to every program it starts.
    open.retain(|fd| *fd <= 4 || !is_inherited(*fd));
    open.sort_unstable();
    assert_eq!(open, [0, 1, 2, 3, 4]);
}

/// Whether this process has the descriptor open and passes it on.
pub(crate) fn is_inherited(fd: i32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else {
        return false;
    };
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    let close_on_exec = 0o2_000_000;
    i64::from_str_radix(flags.trim(), 8).unwrap() & close_on_exec == 0
}

#[tokio::test]
async fn survives_the_death_of_the_interpreter() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    let tool = place.file("echo_tool.py", ECHO);
    for _ in 0..3 {
        attachment.make_spare().await;
        broker.spare().await;
        let zygote = children(worker.pid())[0];
        signal(zygote, Signal::KILL);
        // Asked for while nobody is there to fork.
        attachment.make_spare().await;
        let answer = broker.spare().await.call(&tool, &json!({}));
        assert_eq!(answer["result"]["ok"], true);
        assert_ne!(children(worker.pid()), [zygote]);
    }
}

#[tokio::test]
async fn a_stopped_interpreter_is_replaced() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    broker.spare().await;
    let zygote = children(worker.pid())[0];
    signal(zygote, Signal::STOP);
    let start = Instant::now();
    attachment.make_spare().await;
    broker.spare().await;
    assert!(start.elapsed() > Duration::from_secs(5));
    assert_ne!(children(worker.pid()), [zygote]);
}

#[tokio::test]
async fn reconnects_and_keeps_the_interpreter() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    let waiting = broker.spare().await;
    let zygote = children(worker.pid());
    for pause in [0, 300] {
        drop(broker);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        broker = Broker::start(&place.socket());
        let started = Instant::now();
        let attachment = broker.attached().await;
        assert!(started.elapsed() < Duration::from_secs(10));
        attachment.configure(&python()).await;
        attachment.make_spare().await;
        broker.spare().await;
        assert_eq!(children(worker.pid()), zygote);
    }
    // A spare that lost its broker ends by itself, and nobody has to reap it.
    let pid = waiting.pid;
    drop(waiting);
    eventually("the spare ends", || {
        (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn says_why_there_is_no_spare() {
    let place = Place::new();
    let script = place.file("broken_interpreter", "#!/bin/sh\necho some words\nexit 3\n");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut broker = Broker::start(&place.socket());
    let _worker = worker_of(&place);
    let mut attachment = broker.attached().await;
    attachment.configure("/does/not/exist").await;
    attachment.make_spare().await;
    let message = until(&mut attachment, failure).await;
    assert!(message.contains("/does/not/exist"), "{message}");

    attachment.configure(script.to_str().unwrap()).await;
    attachment.make_spare().await;
    let (mut said, mut failed) = (false, false);
    while !said || !failed {
        match attachment.event().await.unwrap() {
            Event::Output(output) => said |= output.line == "some words",
            Event::SpareFailed(spare) => failed |= spare.message.contains("exit status: 3"),
            other => panic!("{other:?}"),
        }
    }
    // What was wrong is put right without a new worker.
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    broker.spare().await;
}

#[tokio::test]
async fn wipes_the_scratch_directory() {
    let place = Place::new();
    fs::create_dir_all(place.scratch().join("a/b")).unwrap();
    fs::write(place.scratch().join("a/b/file"), "x").unwrap();
    let mut broker = Broker::start(&place.socket());
    let _worker = worker_of(&place);
    let mut attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment
        .send(worker_command::Command::Wipe(Wipe {
            wipe_id: 7,
            untouched_since_ms: 0,
        }))
        .await;
    let id = until(&mut attachment, |event| match event {
        Event::Wiped(wiped) => Some(wiped.wipe_id),
        _ => None,
    })
    .await;
    assert_eq!(id, 7);
    assert!(fs::read_dir(place.scratch()).unwrap().next().is_none());
}

#[tokio::test]
async fn serves_no_other_component() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let mut attachment = broker.attached().await;
    attachment
        .configure_as("default:tool:other", &python())
        .await;
    while attachment.event().await.is_some() {}
    assert!(children(worker.pid()).is_empty());
    let again = broker.attached().await;
    again.configure(&python()).await;
    again.make_spare().await;
    broker.spare().await;
}

#[tokio::test]
async fn its_memory_is_closed_to_others() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = worker_of(&place);
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    let spare = broker.spare().await;
    let zygote = children(worker.pid())[0];
    for pid in [worker.pid(), zygote, spare.pid] {
        // The kernel gives the files of a process that is not dumpable to root.
        let flags = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(flags.contains("Name:"), "{pid}");
        let as_other = std::process::Command::new("setpriv")
            .args([
                "--reuid=200123",
                "--clear-groups",
                "cat",
                &format!("/proc/{pid}/environ"),
            ])
            .output()
            .unwrap();
        assert!(!as_other.status.success());
    }
}
