//! Usage, help, `init`, `completions` and what is said without a broker.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::binary::{Host, Ran, installed};

#[test]
fn wrong_words_are_named_with_a_remedy_and_exit_2() {
    let host = Host::new();
    for (args, error, hint) in [
        (
            &["buidl"][..],
            "error: no such command `buidl`",
            "hint: did you mean `build`?",
        ),
        (
            &["grant", "lss"],
            "no such command `lss`",
            "did you mean `ls`",
        ),
        (
            &["ps", "--outptu", "json"],
            "unexpected argument `--outptu`",
            "did you mean `--output`",
        ),
        (
            &["ps", "-o", "yaml"],
            "`yaml` is not a value of `--output <FORMAT>`",
            "write one of `table`, `json`, `jsonl`",
        ),
        (&["init"], "missing `<PACK>`", "hint: "),
        (&["init", "Bad Name"], "`Bad Name`", "hint: "),
        (&["init", "../x"], "`../x`", "hint: "),
        (&["call", "nope"], "`nope`", "hint: "),
        (&["call", "a:gadget:b"], "`a:gadget:b`", "hint: "),
        (
            &["call", "a:tool:b", "--args", "[1]"],
            "`[1]`",
            "hint: write an object",
        ),
        (
            &["call", "a:tool:b", "--args", "{\"a\": }"],
            "line 1 column",
            "hint: write an object",
        ),
        (
            &["call", "a:tool:b", "--timeout", "5"],
            "`5` is not a span of time",
            "hint: ",
        ),
        (&["logs"], "missing `<PACK>`", "hint: "),
        (&["logs", "p", "-n", "0"], "`0`", "hint: "),
        (
            &["grant", "add", "a:tool:b", "file_red", "/x"],
            "`file_red` is no permission of the broker's own",
            "hint: did you mean `file_read`?",
        ),
        (
            &["grant", "add", "a:tool:b", "../x"],
            "`../x` is not a value of `<PERMISSION>`",
            "hint: ",
        ),
        (
            &["grant", "add", "a:tool:b", "clock", "--config", "[]"],
            "`--config` takes a JSON object: this is a list",
            "hint: ",
        ),
        (
            &[
                "grant",
                "add",
                "a:tool:b",
                "file_read",
                "/x",
                "--config",
                "{}",
            ],
            "`file_read` takes no `--config`",
            "hint: ",
        ),
        (
            &["grant", "add", "a:tool:b", "file_read"],
            "nothing to add to `file_read`",
            "hint: ",
        ),
        (
            &["grant", "add", "a:tool:b", "file_read", "relative"],
            "`relative`",
            "hint: ",
        ),
        (
            &["grant", "add", "a:tool:b", "network", "not a host"],
            "not a host",
            "hint: ",
        ),
        (
            &["grant", "check", "a:tool:b", "network", "GET"],
            "`network` needs a method and a URL",
            "hint: for example",
        ),
        (
            &["grant", "check", "a:tool:b", "terminal", "/x"],
            "needs one directory and a command",
            "hint: for example",
        ),
        (
            &[
                "grant",
                "check",
                "a:tool:b",
                "file_read",
                "/x",
                "--action",
                "delete",
            ],
            "`file_read` knows the actions",
            "hint: ",
        ),
        (
            &[
                "grant",
                "check",
                "a:tool:b",
                "file_write",
                "/x",
                "--action",
                "rename",
            ],
            "`--to PATH`",
            "hint: ",
        ),
        (
            &["audit", "query", "--since", "yesterday"],
            "`yesterday` is not a time",
            "hint: ",
        ),
        (
            &["audit", "query", "--decision", "maybe"],
            "`maybe` is not a value of",
            "write one of `allow`, `deny`",
        ),
        (&["audit", "show", "short"], "`short`", "hint: "),
        (
            &["audit", "tail", "-f", "-o", "json"],
            "never ends",
            "use `-o jsonl`",
        ),
        (
            &["completions", "tcsh"],
            "`tcsh`",
            "write one of `bash`, `zsh`, `fish`",
        ),
    ] {
        let ran = host.expect(args, 2);
        assert_eq!(ran.stdout, "", "{args:?}");
        ran.says(error).says(hint);
        assert!(
            ran.stderr.starts_with("error: "),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn help_is_data_and_a_bare_command_is_a_mistake() {
    let host = Host::new();
    for args in [
        &["--help"][..],
        &["-h"],
        &["grant", "add", "--help"],
        &["audit", "verify", "--help"],
    ] {
        let ran = host.expect(args, 0);
        ran.prints("Usage: packctl");
        assert_eq!(ran.stderr, "");
    }
    host.expect(&["--help"], 0).prints("5 broker unreachable");
    host.expect(&["--version"], 0).prints("packctl 0");
    for args in [&[][..], &["grant"], &["audit"]] {
        let ran = host.expect(args, 2);
        assert_eq!(ran.stdout, "");
        ran.says("Usage: packctl");
    }
}

#[test]
fn verbs_that_need_the_broker_say_how_to_start_it() {
    let host = Host::new();
    for args in [
        &["build"][..],
        &["up", "default"],
        &["down"],
        &["ps"],
        &["stats"],
        &["logs", "default"],
        &["call", "default:tool:my_tool"],
    ] {
        let ran = host.expect(args, 5);
        assert_eq!(ran.stdout, "", "{args:?}");
        ran.says(&format!(
            "does not answer on `{}`",
            host.text("run/control.sock")
        ))
        .says(&format!(
            "hint: start it as root: rumi-broker --home {}",
            host.text("home")
        ));
    }
}

#[test]
fn a_socket_nobody_listens_on_is_unreachable_too() {
    let host = Host::new();
    drop(std::os::unix::net::UnixListener::bind(host.path("run/control.sock")).unwrap());
    host.expect(&["ps"], 5)
        .says("efused")
        .says("rumi-broker --home");
}

#[test]
fn init_writes_a_pack_once() {
    let host = Host::new();
    let ran = host.expect(&["init", "my-pack"], 0);
    ran.prints("packctl up my-pack")
        .prints(r#"packctl call my-pack:tool:hello --args '{"name": "world"}'"#)
        .prints("packctl grant add my-pack:tool:hello file_read DIR");
    let mut names: Vec<_> = fs::read_dir(host.path("home/docker/packs/my-pack"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["README.md", "main.py", "pack.json"]);
    for name in names {
        let text = host.read(&format!("home/docker/packs/my-pack/{name}"));
        assert!(!text.contains("PACK_ID"), "{name}");
    }
    rumi_policy::manifest::Manifest::parse(
        host.read("home/docker/packs/my-pack/pack.json").as_bytes(),
    )
    .unwrap();
    host.write("home/docker/packs/my-pack/main.py", "mine");
    host.expect(&["init", "my-pack"], 1)
        .says("pack `my-pack` exists already")
        .says("hint: ");
    assert_eq!(host.read("home/docker/packs/my-pack/main.py"), "mine");
    assert_eq!(
        fs::read_dir(host.path("home/docker/packs"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn the_skeleton_answers_when_its_code_runs() {
    if !installed("python3") {
        return;
    }
    let host = Host::new();
    host.expect(&["init", "p"], 0);
    let directory = host.path("home/docker/packs/p");
    let output = Command::new("python3")
        .args(["-B", "-c", "import sys, types, json\nsys.modules['rumi'] = types.SimpleNamespace(read_file=lambda path: b'a b c')\nimport main\nprint(json.dumps([main.run({}), main.run({'name': 'x', 'file': '/f'})]))"])
        .current_dir(directory)
        .output()
        .unwrap();
    let ran = Ran::of(output);
    assert_eq!(
        ran.json(),
        serde_json::json!([{"greeting": "Hello, world!"}, {"greeting": "Hello, x!", "words": 3}]),
    );
}

#[test]
fn a_directory_that_is_no_home_is_named() {
    let host = Host::new();
    fs::create_dir(host.path("elsewhere")).unwrap();
    let elsewhere = host.text("elsewhere");
    for args in [&["init", "p"][..], &["grant", "ls"], &["grant", "lint"]] {
        let mut args = args.to_vec();
        args.extend(["--home", &elsewhere]);
        host.expect(&args, 4)
            .says(&format!("`{elsewhere}` holds no docker/"))
            .says("--home DIR");
    }
}

#[test]
fn completions_are_scripts_their_shells_accept() {
    let host = Host::new();
    for (shell, word) in [
        ("bash", "complete"),
        ("zsh", "#compdef packctl"),
        ("fish", "complete -c packctl"),
    ] {
        let ran = host.expect(&["completions", shell], 0);
        ran.prints(word).prints("audit");
        if !installed(shell) {
            continue;
        }
        let mut check = Command::new(shell)
            .args(["-n", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check
            .stdin
            .take()
            .unwrap()
            .write_all(ran.stdout.as_bytes())
            .unwrap();
        let output = check.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{shell}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let host = Host::new();
    let mut child = host
        .command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.as_str()),
        (Some(0), "")
    );
}

#[test]
fn doctor_checks_what_it_can_without_the_broker() {
    let host = Host::new();
    host.write("home/grants/a:tool:b.json", "{ broken");
    let engine = host.text("no-engine.sock");
    let output = host
        .command(&["doctor", "-o", "json"])
        .env("RUMI_DOCKER", &engine)
        .output()
        .unwrap();
    let ran = Ran::of(output);
    assert_eq!(ran.code, 5, "{ran:#?}");
    let findings = ran.json();
    let find = |subject: &str| {
        findings
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["subject"] == subject)
            .unwrap_or_else(|| panic!("no finding about {subject}: {findings:#}"))
            .clone()
    };
    assert_eq!(find("broker")["level"], "error");
    assert!(
        find("broker")["remedy"]
            .as_str()
            .unwrap()
            .contains("rumi-broker --home")
    );
    assert_eq!(find("engine")["level"], "error");
    assert!(
        find("engine")["message"]
            .as_str()
            .unwrap()
            .contains(&engine)
    );
    assert_eq!(find("grants/a:tool:b.json")["level"], "error");
    assert_eq!(find("openat2")["level"], "ok");
    find("cgroups");
    find("landlock");
    host.expect(&["doctor"], 5)
        .prints("error    broker: ")
        .prints("hint: start it as root");
}

#[test]
fn doctor_asks_the_engine_itself() {
    use std::os::unix::net::UnixListener;

    let host = Host::new();
    for (reply, level) in [
        ("HTTP/1.0 200 OK\r\n\r\nOK", "ok"),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "error"),
    ] {
        let path = host.path(&format!("{level}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /_ping"));
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let output = host
            .command(&["doctor", "-o", "jsonl"])
            .env("RUMI_DOCKER", &path)
            .output()
            .unwrap();
        server.join().unwrap();
        let ran = Ran::of(output);
        let engine = ran
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .find(|finding| finding["subject"] == "engine")
            .unwrap();
        assert_eq!(engine["level"], level, "{engine}");
    }
}
