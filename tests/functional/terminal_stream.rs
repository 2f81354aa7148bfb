//! Commands with their input, output and signals as streams.

use std::time::{Duration, Instant};

use rumi_proto::v1::{self, terminal_input, terminal_output};
use rumi_tests::Terminal;
use serde_json::{Value, json};

use crate::world::{component, world};

fn start(mut message: Value) -> Terminal {
    let world = world();
    if message.get("directory").is_none() {
        message["directory"] = json!(world.at("commands"));
    }
    Terminal::start(&world.peer("commands"), &message)
}

fn python(program: &str) -> Terminal {
    start(json!({"argv": ["python3", "-u", "-c", program]}))
}

#[test]
fn input_and_output_go_both_ways_while_the_command_runs() {
    let mut cat = start(json!({"argv": ["cat"]}));
    for word in ["one\n", "two\n"] {
        cat.send(b'I', word.as_bytes());
        cat.read_until(word);
    }
    cat.send(b'E', b"");
    let told = cat.rest();
    assert_eq!((told.code(), told.stopped()), (0, ""));
    let told = python(
        "import sys; print('out'); print('err', file=sys.stderr); sys.exit(len(sys.stdin.read()))",
    );
    let mut told = told;
    told.send(b'I', b"seven");
    told.send(b'I', b" b");
    told.send(b'E', b"");
    let told = told.rest();
    assert_eq!(
        (told.stdout, told.stderr),
        (b"out\n".to_vec(), b"err\n".to_vec())
    );
    assert_eq!(told.exit["exitCode"], 7);
    assert_eq!(told.exit["stoppedReason"], Value::Null);
}

#[test]
fn one_record_says_how_it_went() {
    let world = world();
    world.broker.home().data("commands/recorded");
    let directory = world.at("commands/recorded");
    let mut cat = start(json!({"argv": ["cat"], "directory": directory}));
    cat.send(b'I', &[b'x'; 1000]);
    cat.send(b'E', b"");
    assert_eq!(cat.rest().stdout.len(), 1000);
    let audit = world.broker.audit();
    let decision = audit
        .iter()
        .find(|record| record["target"] == json!(directory))
        .unwrap();
    let records = world.broker.records_of(decision["id"].as_str().unwrap());
    assert_eq!(records.len(), 2, "{records:?}");
    let detail = &records[1]["detail"];
    assert_eq!(
        (&detail["bytes_in"], &detail["bytes_out"]),
        (&json!(1000), &json!(1000))
    );
    assert_eq!(detail["more"]["stopped_reason"], "exited");
}

#[test]
fn a_signal_reaches_the_command_and_only_known_ones_do() {
    let mut command = python(
        "import signal, time\nsignal.signal(2, lambda *_: print('interrupted'))\nprint('ready')\ntime.sleep(60)\nprint('on')\ntime.sleep(60)",
    );
    command.read_until("ready");
    command.send(b'K', b"INT");
    command.read_until("interrupted");
    command.send(b'K', b"TERM");
    let told = command.rest();
    assert_eq!((told.code(), told.stopped()), (143, "SIGNAL"));
    // A signal that comes before the command is there waits for it.
    let mut early = start(json!({"argv": ["sleep", "60"]}));
    early.send(b'K', b"TERM");
    assert_eq!(early.rest().code(), 143);
    let mut killed = start(json!({"argv": ["sleep", "60"]}));
    killed.send(b'K', b"KILL");
    assert_eq!((killed.rest().code()), 137);
    let mut wrong = start(json!({"argv": ["sleep", "60"]}));
    wrong.send(b'K', b"STOP");
    let told = wrong.rest();
    assert_eq!(told.refused["code"], "invalid_argument");
    assert!(
        told.refused["message"].as_str().unwrap().contains("`STOP`"),
        "{told:?}"
    );
}

#[test]
fn a_terminal_has_a_size_that_changes_and_echoes_what_is_typed() {
    let mut command = start(json!({
        "argv": ["python3", "-u", "-c", "import os, sys\nprint(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size())\nprint('got', input())\nprint(os.get_terminal_size())\nimport time; print('asleep'); time.sleep(60)"],
        "tty": {"rows": 24, "columns": 80},
    }));
    command.read_until("True True os.terminal_size(columns=80, lines=24)");
    command.send(b'R', &[0, 40, 0, 132]);
    command.send(b'I', b"typed\n");
    let seen = command.read_until("asleep");
    assert!(
        seen.contains("os.terminal_size(columns=132, lines=40)"),
        "{seen:?}"
    );
    // Echoed by the terminal, or by the interpreter's line editor where that was ready by then.
    let (echo, answer) = seen.split_once("got typed").expect("an answer");
    assert!(echo.contains("typed\r\n"), "{seen:?}");
    assert!(answer.starts_with("\r\n"), "{seen:?}");
    // Ctrl-C, as a person would.
    command.send(b'I', &[3]);
    let told = command.rest();
    assert!(told.text().contains("KeyboardInterrupt"), "{told:?}");
    assert_ne!(told.code(), 0);
}

#[test]
fn a_flood_is_cut_and_a_slow_reader_slows_the_command() {
    let told = python("import os\nwhile True: os.write(1, b'x' * 65536)").rest();
    assert_eq!(
        (told.stopped(), &told.exit["truncated"]),
        ("OUTPUT", &json!(true))
    );
    assert_eq!(told.stdout.len(), 65_536, "exactly what was granted");
    // Its own limit is above what the pipes between hold, and nobody reads.
    let world = world();
    let mut slow = Terminal::start(
        &world.peer("streams"),
        &json!({"argv": ["python3", "-u", "-c", "import os, sys\nfor n in range(400): os.write(1, b'x' * 65536); print(n, file=open('written', 'w'))"]}),
    );
    let written = || -> u32 {
        let text = std::fs::read_to_string(world.data("streams/written")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    let mut before = u32::MAX;
    // What lies between fills up first, which takes its time on a busy host.
    rumi_tests::within(
        Duration::from_secs(60),
        "the command to stand still",
        || {
            std::thread::sleep(Duration::from_secs(2));
            std::mem::replace(&mut before, written()) == before && before > 0
        },
    );
    assert!(before < 200, "{before} pieces of 64 KiB are held somewhere");
    slow.read_until("x");
    let told = slow.rest();
    assert_eq!(told.code(), 0, "{:?}", told.exit);
    assert_eq!(written(), 399);
}

#[test]
fn a_command_ends_with_its_caller_and_with_its_grant() {
    let world = world();
    let running = || {
        let listed = world.broker.must(&["terminal", "ls", "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let of = |row: &Value| row["component"] == json!(component("leaving"));
        listed
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| of(row))
            .count()
    };
    let sleep = json!({"argv": ["sleep", "60"]});
    let gone = Terminal::start(&world.peer("leaving"), &sleep);
    rumi_tests::eventually("the command to run", || running() == 1);
    drop(gone);
    rumi_tests::within(Duration::from_secs(5), "the command to end", || {
        running() == 0
    });

    let mut revoked = Terminal::start(
        &world.peer("leaving"),
        &json!({"argv": ["python3", "-u", "-c", "import time; print('up'); time.sleep(60)"]}),
    );
    revoked.read_until("up");
    let begun = Instant::now();
    world.broker.home().ungrant(&component("leaving"));
    let told = revoked.rest();
    assert_eq!(told.stopped(), "REVOKED");
    rumi_tests::in_time(begun, Duration::from_secs(1));
}

#[test]
fn an_admin_sees_what_runs_and_stops_it() {
    let world = world();
    let mut command = Terminal::start(
        &world.peer("streams"),
        &json!({"argv": ["python3", "-u", "-c", "print('up')\nimport time; time.sleep(60) # an-admin-sees"]}),
    );
    command.read_until("up");
    let listed = world.broker.must(&["terminal", "ls"]).stdout;
    assert!(
        listed.contains("an-admin-sees") && listed.contains("asker:tool:streams"),
        "{listed}"
    );
    let rows: Value =
        serde_json::from_str(&world.broker.must(&["terminal", "ls", "-o", "json"]).stdout).unwrap();
    let of = |row: &&Value| row["argv"].to_string().contains("an-admin-sees");
    let record = rows.as_array().unwrap().iter().find(of).unwrap()["record"]
        .as_str()
        .unwrap()
        .to_owned();
    world.broker.must(&["terminal", "stop", &record]);
    assert_eq!(command.rest().stopped(), "STOPPED");
    let again = world.broker.packctl(&["terminal", "stop", &record]);
    assert_eq!(again.code, 4, "{again:?}");
    let audit = world.broker.audit();
    let admin = audit
        .iter()
        .find(|one| one["phase"] == "admin" && one["target"] == json!(record));
    assert_eq!(admin.unwrap()["action"], "terminal_stop");
    assert_eq!(
        world.broker.records_of(&record)[1]["detail"]["more"]["stopped_reason"],
        "stopped"
    );
}

#[test]
fn the_environment_is_what_the_grant_lists_and_secrets_stay_out_of_sight() {
    let world = world();
    let mut command = Terminal::start(
        &world.peer("streams"),
        &json!({"argv": ["python3", "-u", "-c", "import os, time; print(sorted(os.environ.items())); time.sleep(60)"]}),
    );
    let seen = command.read_until("]");
    let wanted = "[('PLAIN', 'text'), ('TOKEN', 'Bearer from the secrets')]";
    assert_eq!(seen.trim(), wanted);
    let sandboxes = world.broker.containers();
    let mut inspect = std::process::Command::new("docker");
    // Other tests' sandboxes may be gone by now, which makes the code 1; ours is there.
    let shown = rumi_tests::Output::of(inspect.arg("inspect").args(&sandboxes)).stdout;
    assert!(shown.contains("sorted(os.environ.items())"), "{shown}");
    assert!(
        !shown.contains("from the secrets"),
        "the engine shows the secret"
    );
    command.send(b'K', b"KILL");
    command.rest();
}

#[test]
fn what_is_refused_says_so_in_one_frame() {
    let world = world();
    let streams = world.peer("streams");
    for (start, reason) in [
        (json!({"argv": ["ls"]}), "command_not_allowed"),
        (
            json!({"argv": ["cat"], "directory": "/etc"}),
            "forbidden_by_scope",
        ),
        (
            json!({"argv": ["cat"], "directory": "/elsewhere"}),
            "outside_directory",
        ),
        (json!({"argv": []}), "bad_request"),
        (json!({"argv": ["cat"], "command": "cat"}), "bad_request"),
    ] {
        let told = Terminal::start(&streams, &start).rest();
        assert_eq!(told.reason(), reason, "{start}: {told:?}");
    }
    let told = Terminal::start(
        &world.peer("none"),
        &json!({"argv": ["ls"], "directory": "/x"}),
    )
    .rest();
    assert_eq!(told.reason(), "no_grant");
    // `commands` has more than one directory below it, and `narrow` may not do anything there.
    let told = Terminal::start(
        &world.peer("globs"),
        &json!({"argv": ["ls", "-l"], "directory": world.at("streams")}),
    )
    .rest();
    assert_eq!(told.code(), 0);
    let told = Terminal::start(
        &world.peer("globs"),
        &json!({"argv": ["ls", "-la"], "directory": world.at("streams")}),
    )
    .rest();
    assert_eq!(told.reason(), "command_not_allowed");
    let sentence = told.refused["details"][0]["debug"]["sentence"]
        .as_str()
        .unwrap();
    assert!(
        sentence.contains("argument 1 of `ls`, `-la`,"),
        "{sentence}"
    );
    for (kind, content) in [
        (b'I', &b"x"[..]),
        (b'S', b"{"),
        (b'S', b"{\"argw\": []}"),
        (b'?', b""),
    ] {
        let mut terminal = Terminal::open(&streams);
        terminal.send(kind, content);
        let told = terminal.rest();
        assert_eq!(told.refused["code"], "invalid_argument", "{kind} {told:?}");
    }
}

#[test]
fn grpc_streams_commands_too() {
    let world = world();
    let peer = world.peer("streams");
    let said = world.broker.block_on(async {
        use terminal_input::Message;
        let start = v1::TerminalStart {
            argv: vec!["cat".into()],
            ..v1::TerminalStart::default()
        };
        let messages = [
            Message::Start(start),
            Message::Stdin(b"by grpc".to_vec().into()),
            Message::End(v1::TerminalEnd {}),
        ]
        .map(|message| v1::TerminalInput {
            message: Some(message),
        });
        let mut client = peer.grpc().await;
        let reply = client.terminal_stream(tokio_stream::iter(messages)).await;
        let mut stream = reply.unwrap().into_inner();
        let mut said = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            said.extend(message.message);
        }
        said
    });
    let output: Vec<u8> = said
        .iter()
        .filter_map(|message| match message {
            terminal_output::Message::Stdout(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(output, b"by grpc");
    let Some(terminal_output::Message::Exit(exit)) = said.last() else {
        panic!("{said:?}");
    };
    assert_eq!((exit.exit_code, exit.truncated), (0, false));
}
