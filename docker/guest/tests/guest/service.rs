//! A service's worker against a broker on a real socket and a real interpreter.

use std::{path::Path, time::Instant};

use crate::support::{Attachment, Broker, Guest, Place, children, eventually, python};
use rumi_proto::v1::{Configure, ServiceState, worker_command::Command, worker_event::Event};

const SERVICE: &str = "default:service:bot";

/// Says a line, waits for a file, and fails.
const BOT: &str = r#"
import os, pathlib, sys, time
import rumi
print("up", __name__, sys.argv == [__file__], rumi.__name__, "HTTP_PROXY" in os.environ)
here = pathlib.Path(__file__).parent
with open(here / "starts", "a") as starts:
    starts.write("x")
while not (here / "fail").exists():
    time.sleep(0.01)
(here / "fail").unlink()
sys.exit(3)
"#;

fn start(place: &Place) -> Guest {
    let mut arguments = place.worker_arguments();
    SERVICE.clone_into(&mut arguments[0]);
    Guest::start(&[], "worker", &arguments)
}

async fn configure(attachment: &Attachment, entry: &Path) {
    let configure = Configure {
        component_id: SERVICE.to_owned(),
        runner: "python".to_owned(),
        interpreter: python(),
        entry: entry.to_str().unwrap().to_owned(),
        ..Configure::default()
    };
    attachment.send(Command::Configure(configure)).await;
}

/// The next state, and the lines that came before it.
async fn state(attachment: &mut Attachment) -> (ServiceState, Vec<String>) {
    let mut lines = Vec::new();
    loop {
        match attachment.event().await.expect("the worker is gone") {
            Event::ServiceState(state) => return (state, lines),
            Event::Output(output) => lines.push(output.line),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_service_runs_is_started_again_and_ends_with_its_worker() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let worker = start(&place);
    let mut attachment = broker.attached().await;
    let entry = place.file("bot.py", BOT);
    configure(&attachment, &entry).await;
    let (first, _) = state(&mut attachment).await;
    assert!(first.running && first.starts == 1, "{first:?}");
    let line = loop {
        match attachment.event().await {
            Some(Event::Output(output)) => break output.line,
            other => assert!(other.is_some(), "{other:?}"),
        }
    };
    assert_eq!(line, "up __main__ True rumi True");

    let failed = Instant::now();
    place.file("fail", "");
    let (waits, lines) = state(&mut attachment).await;
    assert!(!waits.running, "{waits:?}");
    assert!(waits.ended.contains("exit status: 3"), "{waits:?}");
    assert!(
        lines.iter().any(|line| line.contains("again in 500 ms")),
        "{lines:?}"
    );
    let (second, _) = state(&mut attachment).await;
    assert!(second.running && second.starts == 2, "{second:?}");
    assert!(
        failed.elapsed().as_millis() >= 500,
        "it waits before it starts again"
    );

    // A broker that comes back finds it running, and does not start another.
    drop(attachment);
    drop(broker);
    let mut broker = Broker::start(&place.socket());
    let mut attachment = broker.attached().await;
    configure(&attachment, &entry).await;
    let (same, _) = state(&mut attachment).await;
    assert!(same.running && same.starts == 2, "{same:?}");
    let [service] = children(worker.pid())[..] else {
        panic!("one process")
    };
    eventually("it is in its place", || {
        let name = std::fs::read_to_string(format!("/proc/{service}/comm")).unwrap();
        (name.trim() == "rumi-service").then_some(())
    })
    .await;
    let starts = || std::fs::read_to_string(place.directory.path().join("starts")).unwrap();
    eventually("its code runs", || (starts() == "xx").then_some(())).await;
    drop(worker);
    eventually("the service ends", || {
        let state = std::fs::read_to_string(format!("/proc/{service}/stat"));
        let gone = state.map_or(true, |state| state.contains(") Z"));
        gone.then_some(())
    })
    .await;
    assert_eq!(starts(), "xx");
}

#[tokio::test]
async fn a_service_without_an_interpreter_says_so_and_has_no_spares() {
    let place = Place::new();
    let mut broker = Broker::start(&place.socket());
    let _worker = start(&place);
    let mut attachment = broker.attached().await;
    attachment.make_spare().await;
    let Some(Event::SpareFailed(failed)) = attachment.event().await else {
        panic!("no answer")
    };
    assert!(failed.message.contains("no spares"), "{failed:?}");
    attachment.configure_as(SERVICE, "/does/not/exist").await;
    let (waits, lines) = state(&mut attachment).await;
    assert!(!waits.running && waits.starts == 1, "{waits:?}");
    assert!(
        lines.iter().any(|line| line.contains("/does/not/exist")),
        "{lines:?}"
    );
}
