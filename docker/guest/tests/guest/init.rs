//! PID 1 in a PID namespace of its own, with the real worker beneath it.

use std::{fs, time::Duration};

use crate::support::{Broker, Guest, Place, children, eventually, python, signal};
use rustix::process::Signal;

/// The arguments that make the guest PID 1 of a namespace with its own /proc.
const NAMESPACE: [&str; 6] = [
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
];

/// PID 1 of the namespace, seen from here.
async fn first_process(unshare: &Guest) -> i32 {
    eventually("the namespace starts", || {
        let first = *children(unshare.pid()).first()?;
        let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
        name.starts_with("rumi-guest").then_some(first)
    })
    .await
}

fn init_arguments(place: &Place) -> Vec<String> {
    let mut arguments = vec!["--worker".to_owned()];
    arguments.extend(place.worker_arguments());
    arguments
}

#[tokio::test]
async fn restarts_its_worker_and_reaps_orphans() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let unshare = Guest::start(&NAMESPACE, "init", &init_arguments(&place));
    for _ in 0..3 {
        let attachment = broker.attached().await;
        attachment.configure(&python()).await;
        attachment.make_spare().await;
        let spare = broker.spare().await;
        let first = first_process(&unshare).await;
        let worker = children(first)[0];
        signal(worker, Signal::KILL);
        // The interpreter and its spare lose their parents, end, and must not stay as zombies.
        let orphan = spare.pid;
        drop(spare);
        eventually("the orphan is reaped", || {
            (!fs::exists(format!("/proc/{orphan}")).unwrap()).then_some(())
        })
        .await;
    }
    broker.attached().await;
}

#[tokio::test]
async fn continues_a_stopped_worker() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let unshare = Guest::start(&NAMESPACE, "init", &init_arguments(&place));
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    let worker = children(first_process(&unshare).await)[0];
    signal(worker, Signal::STOP);
    attachment.make_spare().await;
    broker.spare().await;
}

#[tokio::test]
async fn stops_for_the_engine_and_not_for_its_inmates() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let mut unshare = Guest::start(&NAMESPACE, "init", &init_arguments(&place));
    let attachment = broker.attached().await;
    attachment.configure(&python()).await;
    attachment.make_spare().await;
    let tool = place.file(
        "killer_tool.py",
        "import os, signal\ndef run(args):\n    try:\n        os.kill(1, signal.SIGTERM)\n        \
         return 'sent'\n    except PermissionError:\n        return 'refused'\n",
    );
    let answer = broker.spare().await.call(&tool, &serde_json::json!({}));
    assert_eq!(answer["result"]["ok"], true, "{answer}");
    let first = first_process(&unshare).await;
    // From inside, but from beyond the tool's Landlock domain.
    let inside = std::process::Command::new("nsenter")
        .args([
            "--target",
            &first.to_string(),
            "--pid",
            "--mount",
            "kill",
            "-TERM",
            "1",
        ])
        .status()
        .unwrap();
    assert!(inside.success());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        unshare.0.try_wait().unwrap().is_none(),
        "it obeyed its inmates"
    );
    signal(first, Signal::TERM);
    let ended = eventually("init ends", || unshare.0.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn without_a_namespace_it_stops_for_anybody() {
    let mut init = Guest::start(&[], "init", &[]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    signal(init.pid(), Signal::TERM);
    let ended = eventually("init ends", || init.0.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
}
