//! Spares that keep a program, against a broker on a real socket and the real shells.

use std::path::Path;

use rumi_proto::v1::{Configure, worker_command::Command};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Attachment, Broker, COMPONENT, Guest, Place, Spare, children, eventually, signal,
};
use crate::worker::is_inherited;

fn worker_of(place: &Place) -> Guest {
    Guest::start(&[], "worker", &place.worker_arguments())
}

async fn configure(attachment: &Attachment, command: &[&str]) {
    let configure = Configure {
        component_id: COMPONENT.to_owned(),
        runner: "command".to_owned(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        ..Configure::default()
    };
    attachment.send(Command::Configure(configure)).await;
}

fn prepare(spare: &mut Spare, start: &str, command: &[&str], entry: &Path, more: &Value) -> Value {
    let mut frame = json!({
        "type": "prepare", "entry": entry, "component_id": COMPONENT, "start": start,
        "command": command, "env": {"GIVEN": "yes"},
        "limits": {"output_bytes": 65536, "nofile": 256},
    });
    if let (Some(frame), Some(more)) = (frame.as_object_mut(), more.as_object()) {
        frame.extend(more.clone());
    }
    spare.exchange(&frame)
}

fn call(spare: &mut Spare, args: &Value) -> Value {
    spare.exchange(&json!({"type": "call", "invocation": "1", "args": args}))
}

struct Bash {
    place: Place,
    broker: Broker,
    worker: Guest,
    attachment: Attachment,
}

impl Bash {
    async fn new() -> Self {
        let place = Place::new();
        let mut broker = Broker::start(&place.socket());
        let worker = worker_of(&place);
        let attachment = broker.attached().await;
        configure(&attachment, &["/bin/bash", "tool.sh"]).await;
        Self {
            place,
            broker,
            worker,
            attachment,
        }
    }

    async fn spare(&mut self) -> Spare {
        self.attachment.make_spare().await;
        self.broker.spare().await
    }

    /// One call of a script.
    async fn run(&mut self, script: &str, args: &Value) -> Value {
        let tool = self.place.file("tool.sh", script);
        let mut spare = self.spare().await;
        let command = ["/bin/bash", &tool.to_string_lossy()];
        let ready = prepare(&mut spare, "at_call", &command, &tool, &json!({}));
        assert_eq!(ready, json!({"type": "ready"}));
        call(&mut spare, args)
    }
}

#[tokio::test]
async fn a_script_has_its_arguments_and_answers_on_descriptor_three() {
    let mut bash = Bash::new().await;
    let script = "printf '%s|' \"$ARG_NAME\" \"$ARG_MAX_SIZE\" \"$GIVEN\"; cat; echo oops >&2; echo '{\"a\": 1}' >&3";
    let args = json!({"name": "a b", "max-size": 7});
    let answer = bash.run(script, &args).await;
    assert_eq!(answer["result"], json!({"ok": true, "data": {"a": 1}}));
    assert_eq!(answer["stdout"], format!("a b|7|yes|{args}"));
    assert_eq!(answer["stderr"], "oops\n");
    assert_eq!(answer["truncated"], false);
    let answer = bash.run("echo plain text >&3; exit 4", &json!({})).await;
    assert_eq!(answer["result"]["error"]["type"], "exit", "{answer}");
    let answer = bash.run("kill -9 $$", &json!({})).await;
    assert_eq!(answer["stopped"], "crashed", "{answer}");
    assert_eq!(
        answer["result"]["error"]["message"],
        "the tool ended with signal 9"
    );
}

#[tokio::test]
async fn a_flood_holds_nobody_up_and_is_cut() {
    let mut bash = Bash::new().await;
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2; echo 5 >&3";
    let answer = bash.run(script, &json!({})).await;
    assert_eq!(answer["result"]["data"], 5);
    for name in ["stdout", "stderr"] {
        assert_eq!(answer[name].as_str().unwrap().len(), 65536);
    }
    assert_eq!(answer["truncated"], true);
}

#[tokio::test]
async fn what_a_script_leaves_running_answers_nothing() {
    let mut bash = Bash::new().await;
    let answer = bash
        .run("(sleep 30; echo late >&3) & echo 1 >&3", &json!({}))
        .await;
    assert_eq!(answer["result"]["data"], 1);
}

#[tokio::test]
async fn a_program_has_four_descriptors_and_no_way_to_its_keeper() {
    let mut bash = Bash::new().await;
    let script = "kill -STOP $PPID 2>/dev/null && echo stopped; ls /proc/self/fd";
    let answer = bash.run(script, &json!({})).await;
    let stdout = answer["stdout"].as_str().unwrap();
    let mut open: Vec<i32> = stdout
        .lines()
        .map(|line| line.parse().expect("the keeper cannot be stopped"))
        .collect();
    // Whoever runs the tests may have left descriptors to every program it starts.
    open.retain(|fd| *fd <= 4 || !is_inherited(*fd));
    // `ls` has the directory itself open, too.
    assert_eq!(open, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn what_cannot_run_says_so_when_it_is_prepared() {
    let mut bash = Bash::new().await;
    let tool = bash.place.file("tool.sh", "");
    let path = tool.to_str().unwrap();
    let none = json!({});
    let nowhere = json!({"working_dir": "/no/such/directory"});
    for (command, entry, more, named) in [
        (["/no/such/shell", path], path, &none, "/no/such/shell"),
        (["/bin/bash", path], "/no/such.sh", &none, "/no/such.sh"),
        (["/bin/bash", path], path, &nowhere, "/no/such/directory"),
    ] {
        let mut spare = bash.spare().await;
        let said = prepare(&mut spare, "at_call", &command, Path::new(entry), more);
        assert_eq!(said["type"], "broken");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn a_program_started_ahead_says_when_it_is_ready() {
    let mut bash = Bash::new().await;
    let script = "echo loading; echo ready >&3; read -r args <&3; echo \"got $args\"; echo \"result {\\\"ok\\\":true,\\\"data\\\":$args}\" >&3; sleep 30";
    let tool = bash.place.file("tool.sh", script);
    let command = ["/bin/bash", tool.to_str().unwrap()];
    let mut spare = bash.spare().await;
    let ready = prepare(&mut spare, "ahead", &command, &tool, &json!({}));
    assert_eq!(ready, json!({"type": "ready"}));
    let answer = call(&mut spare, &json!({"n": 1}));
    assert_eq!(answer["result"], json!({"ok": true, "data": {"n": 1}}));
    assert_eq!(answer["stdout"], "loading\ngot {\"n\":1}\n");

    let dies = bash.place.file("tool.sh", "echo why >&2; exit 3");
    let mut spare = bash.spare().await;
    let said = prepare(&mut spare, "ahead", &command, &dies, &json!({}));
    assert_eq!(said["error"]["type"], "crashed");
    let message = "the tool's process ended while it loaded (exit code 3): why";
    assert_eq!(said["error"]["message"], message);

    // One that ends while it waits is no spare any more.
    let dies = bash.place.file("tool.sh", "echo ready >&3; exit 3");
    let mut spare = bash.spare().await;
    prepare(&mut spare, "ahead", &command, &dies, &json!({}));
    assert!(spare.ends());
}

#[tokio::test]
async fn a_spare_ends_with_the_connection_and_the_worker_collects_it() {
    let mut bash = Bash::new().await;
    let tool = bash
        .place
        .file("tool.sh", "echo ready >&3; read -r x <&3; sleep 60");
    let command = ["/bin/bash", tool.to_str().unwrap()];
    let mut spare = bash.spare().await;
    prepare(&mut spare, "ahead", &command, &tool, &json!({}));
    let pid = spare.pid;
    assert_eq!(children(bash.worker.pid()), [pid]);
    let kept = children(pid);
    assert_eq!(kept.len(), 1);
    drop(spare);
    let worker = bash.worker.pid();
    eventually("the spare ends", || {
        children(worker).is_empty().then_some(())
    })
    .await;
    // What it kept is the broker's to end, with the control group.
    signal(kept[0], Signal::KILL);
    let mut spare = bash.spare().await;
    signal(spare.pid, Signal::KILL);
    assert!(spare.ends());
}
