//! `packctl grant …`, on real files.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    process::Command,
};

use crate::binary::Host;

const TOOL: &str = "default:tool:my_tool";
const FILE: &str = "home/grants/default:tool:my_tool.json";

/// A host with a pack and a directory of documents.
fn host() -> Host {
    let host = Host::new();
    fs::create_dir_all(host.path("documents/inner")).unwrap();
    fs::create_dir_all(host.path("home/docker/packs/default")).unwrap();
    host.write(
        "home/docker/packs/default/pack.json",
        r#"{"id": "default", "version": "1.0.0", "description": "d", "components": [{"id": "default:tool:my_tool",
           "name": "n", "runner": "python", "entry": "tool.py", "description": "d"}]}"#,
    );
    host
}

#[test]
fn every_permission_is_granted_checked_and_taken_away() {
    let host = host();
    if rustix::process::geteuid().is_root() {
        let owner = Some(rustix::fs::Uid::from_raw(12_345));
        rustix::fs::chown(host.path("documents"), owner, None).unwrap();
    }
    let documents = host.text("documents");
    let a_file = format!("{documents}/a.txt");
    for (permission, values, check) in [
        ("file_read", vec![documents.as_str()], vec![a_file.as_str()]),
        (
            "file_write",
            vec![documents.as_str()],
            vec![a_file.as_str(), "--action", "delete"],
        ),
        ("env_read", vec!["OPENAI_API_KEY"], vec!["OPENAI_API_KEY"]),
        (
            "terminal",
            vec![documents.as_str(), "--command", "ls"],
            vec![documents.as_str(), "--", "ls", "-l"],
        ),
        (
            "network",
            vec!["api.openai.com"],
            vec!["GET", "https://api.openai.com/v1/models"],
        ),
    ] {
        let with = |verb: &[&'static str], rest: &[&str]| -> Vec<String> {
            verb.iter()
                .chain(&[TOOL, permission])
                .chain(rest)
                .map(|word| (*word).to_owned())
                .collect()
        };
        let run = |words: Vec<String>, code: i32| {
            host.expect(&words.iter().map(String::as_str).collect::<Vec<_>>(), code)
        };
        let denied = run(with(&["grant", "check"], &check), 3);
        denied
            .prints("decision  deny")
            .prints("reason    no_grant")
            .prints("sentence  ")
            .prints("remedy    packctl grant add");
        run(with(&["grant", "add"], &values), 0)
            .prints("+++ ")
            .prints(permission);
        run(with(&["grant", "check"], &check), 0)
            .prints("decision  allow")
            .prints("default:tool:my_tool.json");
        let again = run(with(&["grant", "add"], &values), 0);
        assert_eq!(again.stdout, "");
        again.says("nothing to change");
        run(with(&["grant", "rm"], &values), 0).prints("-");
        run(with(&["grant", "check"], &check), 3);
        run(with(&["grant", "add"], &values), 0);
        run(with(&["grant", "rm"], &[]), 0);
        run(with(&["grant", "check"], &check), 3);
    }
    host.expect(&["grant", "lint"], 0).says("no mistakes found");
}

#[test]
fn the_remedy_of_a_denial_is_a_command_that_lifts_it() {
    let host = host();
    let a_file = format!("{}/a b's.txt", host.text("documents/inner"));
    for check in [
        vec!["file_read", a_file.as_str()],
        vec!["file_write", a_file.as_str()],
        vec!["env_read", "A_KEY"],
        vec!["network", "POST", "https://example.com:8443/x"],
    ] {
        let mut args = vec!["grant", "check", TOOL];
        args.extend(&check);
        args.extend(["-o", "json"]);
        let answer = host.expect(&args, 3).json();
        assert_eq!(answer["decision"], "deny");
        let remedy = answer["remedy"].as_str().unwrap().to_owned();
        // As an admin would: pasted into a shell.
        let packctl = env!("CARGO_BIN_EXE_packctl");
        let pasted = format!("packctl() {{ {packctl} \"$@\"; }}\n{remedy}");
        let status = Command::new("bash")
            .args(["-c", &pasted])
            .env("RUMI_HOME", host.path("home"))
            .output()
            .unwrap();
        assert!(status.status.success(), "{remedy}: {status:?}");
        host.expect(&args, 0);
    }
}

#[test]
fn one_directory_further_is_denied_with_its_reason() {
    let host = host();
    let inner = host.text("documents/inner");
    host.expect(&["grant", "add", TOOL, "file_read", &inner], 0);
    let outside = host.text("documents/a.txt");
    let answer = host
        .expect(
            &["grant", "check", TOOL, "file_read", &outside, "-o", "json"],
            3,
        )
        .json();
    assert_eq!(answer["reason"], "outside_directory");
    assert!(
        answer["remedy"]
            .as_str()
            .unwrap()
            .starts_with("packctl grant add default:tool:my_tool file_read ")
    );
    let own = host.text("state/audit/x");
    host.expect(&["grant", "add", TOOL, "file_read", "/"], 0);
    let answer = host
        .expect(
            &["grant", "check", TOOL, "file_read", &own, "-o", "jsonl"],
            3,
        )
        .json();
    assert_eq!(
        answer["reason"], "forbidden_by_scope",
        "the broker's own files are never read: {answer}"
    );
}

#[test]
fn words_the_policy_refuses_are_an_answer() {
    let host = host();
    for url in ["http://127.1/", "https://exa_mple.com/", "ftp://x.org/"] {
        host.expect(&["grant", "check", TOOL, "network", "GET", url], 3)
            .prints("bad_request");
    }
}

#[test]
fn an_edit_keeps_the_order_the_schema_and_the_mode() {
    let host = host();
    let documents = host.text("documents");
    host.write(FILE, &format!(
        r#"{{"$schema": "./grant.schema.json", "permissions": {{"network": {{"enabled": true, "allowed_domains": ["a.org"]}}, "file_read": {{"directories": ["{documents}"], "enabled": true}}}}, "component_id": "default:tool:my_tool"}}"#
    ));
    fs::set_permissions(
        host.path(FILE),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    host.expect(&["grant", "add", TOOL, "env_read", "A"], 0);
    let text = host.read(FILE);
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("{part} not in {text}"))
    };
    assert!(
        at("$schema") < at("network")
            && at("network") < at("file_read")
            && at("file_read") < at("env_read")
    );
    assert!(at("\"directories\"") < at("component_id"));
    assert_eq!(fs::metadata(host.path(FILE)).unwrap().mode() & 0o777, 0o600);
    let diff = host.expect(&["grant", "add", TOOL, "env_read", "B"], 0);
    let changed: Vec<_> = diff
        .stdout
        .lines()
        .filter(|line| {
            line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
        })
        .collect();
    assert!(
        changed.iter().any(|line| line.contains("\"B\"")),
        "{diff:#?}"
    );
    assert!(
        changed.len() <= 3,
        "only what changed is marked: {changed:?}"
    );
    let json = host
        .expect(&["grant", "rm", TOOL, "env_read", "B", "-o", "json"], 0)
        .json();
    assert_eq!(json["changed"], true);
    assert_eq!(fs::read_dir(host.path("home/grants")).unwrap().count(), 1);
}

#[test]
fn an_invalid_file_is_named_and_not_touched() {
    let host = host();
    for (text, place) in [
        (
            "{\n  \"component_id\": \"default:tool:my_tool\",\n  broken\n}",
            "line 3",
        ),
        (
            r#"{"component_id": "default:tool:my_tool", "permissions": {"file_red": {}}}"#,
            "file_red",
        ),
        (
            r#"{"component_id": "other:tool:x", "permissions": {}}"#,
            "component_id",
        ),
        (
            r#"{"component_id": "default:tool:my_tool", "permissions": {}, "permissions": {}}"#,
            "permissions",
        ),
        ("", "default:tool:my_tool.json"),
    ] {
        host.write(FILE, text);
        for args in [
            &["grant", "add", TOOL, "env_read", "A"][..],
            &["grant", "rm", TOOL, "env_read"],
            &["grant", "show", TOOL],
            &["grant", "lint"],
        ] {
            let ran = host.expect(args, 1);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(
                said.contains("grants/default:tool:my_tool.json"),
                "{args:?} {text}: {ran:#?}"
            );
            // A table has columns for line and field.
            let place = if args[1] == "lint" {
                place.trim_start_matches("line ")
            } else {
                place
            };
            assert!(said.contains(place), "{args:?} {text}: {ran:#?}");
            ran.says("hint: ");
            assert_eq!(host.read(FILE), text);
        }
        let ran = host.expect(&["grant", "check", TOOL, "env_read", "A"], 3);
        ran.prints("grant_invalid")
            .says("grants/default:tool:my_tool.json");
        host.expect(&["grant", "ls"], 0)
            .says("grants/default:tool:my_tool.json");
    }
}

#[test]
fn a_scope_that_is_missing_is_an_answer() {
    let host = host();
    host.expect(&["grant", "add", TOOL, "env_read", "A"], 0);
    fs::remove_file(host.path("home/scopes/env_read.json")).unwrap();
    host.expect(&["grant", "check", TOOL, "env_read", "A"], 3)
        .prints("scope_invalid");
    host.write("home/scopes/env_read.json", "{\"version\": \"1.0\"");
    host.expect(&["grant", "check", TOOL, "env_read", "A"], 3)
        .prints("scope_invalid")
        .says("scopes/env_read.json");
    host.expect(&["grant", "lint"], 1)
        .prints("scopes/env_read.json");
}

#[test]
fn odd_directories_are_granted_with_a_warning() {
    let host = host();
    symlink(host.path("documents"), host.path("link")).unwrap();
    host.write("file", "");
    let real = host.text("documents");
    for (name, part) in [
        ("missing", "does not exist".to_owned()),
        ("link", format!("its real path is `{real}`")),
        ("file", "is not a directory".to_owned()),
    ] {
        let ran = host.expect(&["grant", "add", TOOL, "file_read", &host.text(name)], 0);
        ran.says("warning: ").says(&part).says("hint: ");
    }
    let findings = host.expect(&["grant", "lint", "-o", "json"], 0).json();
    assert_eq!(findings.as_array().unwrap().len(), 3, "{findings:#}");
    assert!(
        findings
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["level"] == "warning")
    );
    host.expect(&["grant", "add", TOOL, "file_read", &real], 0);
    assert!(
        !host
            .run(&["grant", "add", TOOL, "file_read", &real])
            .stderr
            .contains("warning")
    );
}

#[test]
fn components_nobody_has_are_granted_with_a_warning() {
    let host = host();
    host.expect(&["grant", "add", "default:tool:typo", "env_read", "A"], 0)
        .says("pack `default` has no component `default:tool:typo`")
        .says("`default:tool:my_tool`");
    host.expect(&["grant", "add", "ghost:tool:x", "env_read", "A"], 0)
        .says("there is no pack `ghost`")
        .says("packctl init ghost");
}

#[test]
fn what_is_granted_is_listed_and_shown() {
    let host = host();
    host.expect(&["grant", "ls"], 0).says("nothing is granted");
    host.expect(&["grant", "show", TOOL], 4)
        .says("was granted nothing")
        .says("packctl grant add");
    host.expect(&["grant", "rm", TOOL, "env_read"], 4);
    assert!(!host.path(FILE).exists());
    host.expect(&["grant", "add", TOOL, "env_read", "A", "B"], 0);
    host.expect(&["grant", "add", TOOL, "network", "*.example.com:8443"], 0);
    host.expect(&["grant", "add", "other:service:bot", "env_read", "C"], 0);
    host.expect(&["grant", "ls"], 0)
        .prints("default:tool:my_tool  env_read")
        .prints("allowed_keys=A,B")
        .prints("*.example.com:8443")
        .prints("other:service:bot");
    for only in ["default", TOOL] {
        let rows = host.expect(&["grant", "ls", only, "-o", "json"], 0).json();
        assert_eq!(rows.as_array().unwrap().len(), 2);
    }
    host.expect(&["grant", "show", TOOL], 0)
        .prints("allowed_keys=A,B");
    let shown = host
        .expect(&["grant", "show", TOOL, "-o", "json"], 0)
        .json();
    assert_eq!(
        shown["permissions"]["env_read"]["allowed_keys"],
        serde_json::json!(["A", "B"])
    );
}

#[test]
fn many_at_once_lose_nothing() {
    let host = host();
    let children: Vec<_> = (0..16)
        .map(|number| {
            host.command(&["grant", "add", TOOL, "env_read", &format!("KEY_{number}")])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let shown = host
        .expect(&["grant", "show", TOOL, "-o", "json"], 0)
        .json();
    assert_eq!(
        shown["permissions"]["env_read"]["allowed_keys"]
            .as_array()
            .unwrap()
            .len(),
        16
    );
}

#[test]
fn a_grants_directory_that_is_missing_is_made() {
    let host = host();
    fs::remove_dir(host.path("home/grants")).unwrap();
    host.expect(&["grant", "ls"], 0).says("nothing is granted");
    host.expect(&["grant", "add", TOOL, "env_read", "A"], 0);
    assert!(host.path(FILE).exists());
}

#[test]
fn a_disk_that_refuses_is_named_and_nothing_changes() {
    let host = host();
    host.expect(&["grant", "add", TOOL, "env_read", "A"], 0);
    let before = host.read(FILE);
    // A limit on file sizes is a full disk that needs no disk.
    let packctl = env!("CARGO_BIN_EXE_packctl");
    let output = Command::new("bash")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"",
            packctl,
        ])
        .args([
            "grant",
            "add",
            TOOL,
            "env_read",
            "B",
            "--home",
            &host.text("home"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot write `"),
        "{output:?}"
    );
    assert_eq!(host.read(FILE), before);
    assert_eq!(fs::read_dir(host.path("home/grants")).unwrap().count(), 1);
}

#[test]
fn what_lies_there_counts_too() {
    let host = host();
    let documents = host.text("documents");
    let in_documents = |name: &str| format!("{documents}/{name}");
    host.write("secret.txt", "s");
    host.write("documents/a.txt", "a");
    symlink("../secret.txt", host.path("documents/link")).unwrap();
    fs::hard_link(host.path("secret.txt"), host.path("documents/hard")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, host.path("documents/fifo"), 0o600.into()).unwrap();
    for permission in ["file_read", "file_write"] {
        host.expect(&["grant", "add", TOOL, permission, &documents], 0);
    }
    for (permission, name, action, answer) in [
        ("file_read", "a.txt", "read", "allow"),
        ("file_read", "link", "read", "outside_directory"),
        ("file_read", "fifo", "read", "not_a_file"),
        ("file_read", "inner", "list", "allow"),
        ("file_read", "inner", "read", "not_a_file"),
        ("file_read", "gone", "read", "does not exist now"),
        ("file_write", "a.txt", "write", "allow"),
        ("file_write", "new.txt", "create", "allow"),
        ("file_write", "hard", "append", "deny"),
        ("file_write", "gone/new.txt", "write", "does not exist now"),
    ] {
        let ran = host.run(&[
            "grant",
            "check",
            TOOL,
            permission,
            &in_documents(name),
            "--action",
            action,
        ]);
        ran.prints(answer);
        assert_eq!(
            ran.code,
            if ran.stdout.contains("allow") { 0 } else { 3 },
            "{ran:#?}"
        );
    }
}

#[test]
fn programs_are_told_apart_as_the_image_would() {
    let host = host();
    let documents = host.text("documents");
    // A directory of root's is refused for a reason of its own.
    let as_root = rustix::process::geteuid().is_root();
    if as_root {
        rustix::fs::chown(
            host.path("documents"),
            Some(rustix::fs::Uid::from_raw(12_345)),
            None,
        )
        .unwrap();
    }
    host.expect(
        &[
            "grant",
            "add",
            TOOL,
            "terminal",
            &documents,
            "--command",
            "ls",
            "--command",
            "/bin/wc",
        ],
        0,
    );
    for (program, code) in [
        ("ls", 0),
        ("/usr/bin/ls", 0),
        ("/bin/ls", 0),
        ("wc", 0),
        ("rm", 3),
        ("/tmp/ls", 3),
    ] {
        let ran = host.expect(
            &[
                "grant", "check", TOOL, "terminal", &documents, "--", program,
            ],
            code,
        );
        if code == 3 {
            ran.prints("command_not_allowed");
        }
    }
    if as_root {
        rustix::fs::chown(host.path("documents"), Some(rustix::fs::Uid::ROOT), None).unwrap();
        host.expect(
            &["grant", "check", TOOL, "terminal", &documents, "--", "ls"],
            3,
        )
        .prints("root_owned");
    }
}

#[test]
fn addresses_are_judged_with_the_admins_exceptions() {
    let host = host();
    for target in ["10.1.2.3:80", "127.0.0.1:80"] {
        host.expect(&["grant", "add", TOOL, "network", target], 0);
    }
    let check =
        |url: &str, code: i32| host.expect(&["grant", "check", TOOL, "network", "GET", url], code);
    check("http://10.1.2.3/", 3).prints("blocked_address");
    host.write(
        "home/docker/config.json",
        r#"{"network": {"allowed_ranges": ["10.1.0.0/16"]}}"#,
    );
    check("http://10.1.2.3/", 0);
    check("http://127.0.0.1/", 3).prints("blocked_address");
}
