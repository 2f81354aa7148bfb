//! terminal.

use rumi_policy::{
    AllowedCommand, Capability, Confirmed, Denial, PolicySet, Terminal, TerminalAsk, TerminalFound,
    TerminalMode,
};

use crate::world::{ask, path, policy, policy_with_scope, reason, remedy, source};

fn set() -> PolicySet {
    policy(
        r#"{"terminal": {"enabled": true, "directories": ["/srv/work"], "allowed_commands": ["ls", "/usr/bin/git"],
            "timeout_ms": 5000, "memory_mb": 9999999999}}"#
            .replace("9999999999", "8192")
            .as_str(),
    )
}

fn run(argv: &[&str], directory: &str) -> Result<TerminalAsk, Denial> {
    TerminalAsk::new(
        argv.iter().map(ToString::to_string).collect(),
        path(directory),
        None,
    )
}

fn found(program: &str) -> TerminalFound {
    TerminalFound {
        program: path(program),
        allowed: vec![Some(path("/usr/bin/ls")), Some(path("/usr/bin/git"))],
        real_root: path("/srv/work"),
        real_directory: path("/srv/work"),
        owner_uid: 1000,
        owner_gid: 1001,
    }
}

fn confirm(found: &TerminalFound) -> Result<Confirmed<Terminal>, Denial> {
    ask::<Terminal>(&set(), run(&["ls", "-l"], "/srv/work").unwrap())
        .unwrap()
        .confirm(found)
}

#[test]
fn commands_are_matched_by_what_they_resolve_to() {
    let confirmed = confirm(&found("/usr/bin/ls")).unwrap();
    assert_eq!(
        (
            confirmed.facts().program.as_str(),
            confirmed.facts().uid,
            confirmed.facts().gid
        ),
        ("/usr/bin/ls", 1000, 1001)
    );
    assert_eq!(confirmed.ask().argv(), ["ls", "-l"]);
    let denial = confirm(&found("/usr/local/bin/ls")).unwrap_err();
    assert_eq!(
        denial.reason.as_str(),
        "command_not_allowed",
        "the base name counts for nothing"
    );
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool terminal /srv/work --command ls"
    );
    let nothing = TerminalFound {
        allowed: vec![],
        ..found("/usr/bin/ls")
    };
    assert_eq!(reason(&confirm(&nothing)), "command_not_allowed");
}

#[test]
fn terms_are_the_smaller_of_what_was_asked_granted_and_limited() {
    let with = |timeout| TerminalAsk::new(vec!["ls".into()], path("/srv/work/a"), timeout).unwrap();
    let terms = |timeout| ask::<Terminal>(&set(), with(timeout)).unwrap();
    assert_eq!(terms(None).terms().timeout_ms(), 5000);
    assert_eq!(terms(Some(10)).terms().timeout_ms(), 10);
    assert_eq!(terms(Some(u64::MAX)).terms().timeout_ms(), 5000);
    assert_eq!(
        terms(None).terms().memory_bytes(),
        4096 << 20,
        "the scope's ceiling"
    );
    assert_eq!(terms(None).terms().max_output_bytes(), 1 << 20);
    assert_eq!(terms(None).terms().relative(), "a");
    assert_eq!(
        Terminal::target(&with(None)),
        "/srv/work/a",
        "arguments may be secret"
    );
}

#[test]
fn directories_are_granted_and_belong_to_somebody() {
    let denial = ask::<Terminal>(&set(), run(&["ls"], "/srv/other").unwrap()).unwrap_err();
    assert_eq!(denial.reason.as_str(), "outside_directory");
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool terminal /srv/other --command ls"
    );
    let root = confirm(&TerminalFound {
        owner_uid: 0,
        ..found("/usr/bin/ls")
    })
    .unwrap_err();
    assert_eq!(root.reason.as_str(), "root_owned");
    assert!(root.sentence.contains("belongs to root"), "{root}");
    let out = TerminalFound {
        real_directory: path("/srv/else"),
        ..found("/usr/bin/ls")
    };
    assert_eq!(reason(&confirm(&out)), "outside_directory");
}

/// The sandbox mounts the whole directory, so what is below it counts.
#[test]
fn directories_that_hold_something_forbidden_are_refused() {
    let set = policy(
        r#"{"terminal": {"enabled": true, "directories": ["/"], "allowed_commands": ["ls"]}}"#,
    );
    for directory in [
        "/",
        "/home",
        "/home/user",
        "/root",
        "/var",
        "/etc",
        "/srv",
        "/srv/rumi",
        "/srv/state/x",
        "/home/u/.config",
    ] {
        let answer = ask::<Terminal>(&set, run(&["ls"], directory).unwrap());
        assert_eq!(reason(&answer), "forbidden_by_scope", "{directory}");
    }
    for directory in ["/home/user/project", "/srv/work", "/opt/x", "/tmp"] {
        assert_eq!(
            reason(&ask::<Terminal>(&set, run(&["ls"], directory).unwrap())),
            "ok",
            "{directory}"
        );
    }
    let linked = TerminalFound {
        real_root: path("/"),
        real_directory: path("/home/user"),
        ..found("/usr/bin/ls")
    };
    let answer = ask::<Terminal>(&set, run(&["ls"], "/opt/x").unwrap())
        .unwrap()
        .confirm(&linked);
    assert_eq!(reason(&answer), "forbidden_by_scope");
}

#[test]
fn forbidden_commands_are_nobodys() {
    let set = policy(
        r#"{"terminal": {"enabled": true, "directories": ["/srv/work"], "allowed_commands": ["sudo", "su", "x"]}}"#,
    );
    for program in ["sudo", "/usr/bin/sudo", "su"] {
        let denial = ask::<Terminal>(&set, run(&[program], "/srv/work").unwrap()).unwrap_err();
        assert_eq!(
            (denial.reason.as_str(), remedy(&denial).as_str()),
            ("forbidden_by_scope", ""),
            "{program}"
        );
    }
    let alias = TerminalFound {
        allowed: vec![Some(path("/usr/bin/sudo"))],
        ..found("/usr/bin/sudo")
    };
    let answer = ask::<Terminal>(&set, run(&["x"], "/srv/work").unwrap())
        .unwrap()
        .confirm(&alias);
    assert_eq!(reason(&answer), "forbidden_by_scope", "by another name");
}

#[test]
fn an_empty_list_allows_nothing() {
    let set = policy(
        r#"{"terminal": {"enabled": true, "directories": ["/srv/work"], "allowed_commands": []}}"#,
    );
    assert_eq!(
        reason(&ask::<Terminal>(&set, run(&["ls"], "/srv/work").unwrap())),
        "command_not_allowed"
    );
}

#[test]
fn strange_argument_lists_are_refused() {
    let long = "x".repeat(200_000);
    let many = vec!["x"; 5000];
    for argv in [
        &[][..],
        &[""],
        &["./x"],
        &["../x"],
        &["a/b"],
        &["-x"],
        &["."],
        &["ls\0"],
        &["ls", "a\0b"],
        &["/"],
        &["/a/../b"],
        &["a b"],
        &["ls\n"],
        &["ls", &long],
        &many,
    ] {
        assert_eq!(
            reason(&run(argv, "/srv/work")),
            "bad_request",
            "{:?}",
            argv.first()
        );
    }
    assert!(
        run(&["ls", "", "-rf", "a\nb", "$(x)", "; rm"], "/srv/work").is_ok(),
        "arguments are only text"
    );
}

#[test]
fn one_string_is_split_as_shlex_splits() {
    let split = |text: &str| {
        TerminalAsk::from_command(text, path("/srv/work"), None).map(|ask| ask.argv().to_vec())
    };
    for (text, argv) in [
        ("ls -l", &["ls", "-l"][..]),
        ("  ls   'a b' \"c d\" e\\ f ", &["ls", "a b", "c d", "e f"]),
        ("grep 'a|b' x", &["grep", "a|b", "x"]),
        ("grep \"a;b\" x", &["grep", "a;b", "x"]),
        ("echo a\\;b \\| \\> \\&", &["echo", "a;b", "|", ">", "&"]),
        ("echo '$(x)' '`y`'", &["echo", "$(x)", "`y`"]),
        ("grep x$ f", &["grep", "x$", "f"]),
        ("echo $HOME ~ *", &["echo", "$HOME", "~", "*"]),
        ("echo '' a''b", &["echo", "", "ab"]),
        ("echo a#b '#c'", &["echo", "a#b", "#c"]),
        ("echo \"\\$(x)\"", &["echo", "$(x)"]),
    ] {
        assert_eq!(
            split(text).unwrap_or_else(|error| panic!("{text}: {error}")),
            argv,
            "{text}"
        );
    }
    for text in [
        "ls | cat",
        "ls|cat",
        "ls > x",
        "ls >> x",
        "ls < x",
        "ls && rm",
        "ls & rm",
        "ls; rm",
        "ls;rm",
        "(ls)",
        "ls $(x)",
        "ls \"$(x)\"",
        "ls `x`",
        "ls \"`x`\"",
        "ls\nrm",
        "ls\r\nrm",
        "ls # x",
        "#x",
        "ls 'a",
        "ls \"a",
        "ls \\",
        "",
        "   ",
        "ls 2>&1",
        "ls <(x)",
        "a=1; ls",
        "ls \0",
        "'a'|b",
        "\"a\"|b",
        "a\\\\|b",
        "ls 'a'\\''b | c",
    ] {
        assert_eq!(reason(&split(text)), "bad_request", "{text:?}");
    }
}

/// What becomes of `git ARGUMENTS` under these entries, all of which stand for the same program.
fn fits(entries: &[&str], arguments: &[&str]) -> Result<Confirmed<Terminal>, Denial> {
    let entries: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
    let set = policy(&format!(
        r#"{{"terminal": {{"enabled": true, "directories": ["/srv/work"], "allowed_commands": [{}]}}}}"#,
        entries.join(", ")
    ));
    let mut argv = vec!["git"];
    argv.extend(arguments);
    let found = TerminalFound {
        allowed: entries.iter().map(|_| Some(path("/usr/bin/git"))).collect(),
        ..found("/usr/bin/git")
    };
    ask::<Terminal>(&set, run(&argv, "/srv/work").unwrap())
        .unwrap()
        .confirm(&found)
}

#[test]
fn arguments_are_matched_one_glob_each() {
    for (entry, arguments, allowed) in [
        ("git", &["push", "--force"][..], true),
        ("git **", &[], true),
        ("git **", &["a", "b", "c"], true),
        ("git log *", &["log", "a/b\nc d"], true),
        ("git log *", &["log", ""], true),
        ("git log *", &["log"], false),
        ("git log *", &["log", "a", "b"], false),
        ("git log *", &["logs", "a"], false),
        ("git log **", &["log"], true),
        ("git log **", &["log", "--", "x"], true),
        ("git log **", &[], false),
        (
            "git --format=[a-z]* {x,y}",
            &["--format=oneline", "y"],
            true,
        ),
        ("git --format=[a-z]* {x,y}", &["--format=1", "y"], false),
        ("git show HEAD~?", &["show", "HEAD~1"], true),
        ("git show HEAD~?", &["show", "HEAD~12"], false),
        ("git \\*", &["*"], true),
        ("git \\*", &["x"], false),
        // No glob is found in the middle of an argument.
        ("git log", &["xlogx"], false),
        ("git log", &["log\n"], false),
        ("/usr/bin/git status", &["status"], true),
    ] {
        let answer = fits(&[entry], arguments);
        assert_eq!(
            answer.is_ok(),
            allowed,
            "{entry}: {arguments:?}: {answer:?}"
        );
        if !allowed {
            assert_eq!(reason(&answer), "command_not_allowed");
        }
    }
    assert!(fits(&["git log **", "git status"], &["status"]).is_ok());
}

#[test]
fn a_refusal_names_the_argument_that_did_not_fit() {
    for (entries, arguments, part) in [
        (
            &["git log *"][..],
            &["push"][..],
            "argument 1 of `git`, `push`,",
        ),
        (
            &["git log -n*"],
            &["log", "--all"],
            "argument 2 of `git`, `--all`,",
        ),
        (
            &["git log"],
            &["log", "x\u{1b}"],
            "argument 2 of `git`, `x\\u{1b}`, is one more",
        ),
        (&["git log *"], &["log"], "an argument 2, which is missing"),
        // The entry that fits further is the one that was meant.
        (
            &["git push", "git log a"],
            &["log", "b"],
            "argument 2 of `git`, `b`,",
        ),
    ] {
        let denial = fits(entries, arguments).unwrap_err();
        assert!(denial.sentence.contains(part), "{denial}");
    }
    let denial = fits(&["git log"], &["log", "a*b"]).unwrap_err();
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool terminal /srv/work --command 'git log a[*]b'"
    );
    let denial = fits(&["git log"], &["log", "a b"]).unwrap_err();
    assert_eq!(remedy(&denial), "", "a space cannot be written");
}

#[test]
fn strange_entries_are_refused() {
    for entry in [
        "",
        " git",
        "git ",
        "git  log",
        "git ** log",
        "git [",
        "git {a",
        "git a\tb",
        "a/b c",
        "-x",
        ". x",
    ] {
        assert!(entry.parse::<AllowedCommand>().is_err(), "{entry:?}");
    }
    let long = format!("git{}", " x".repeat(65));
    assert!(long.parse::<AllowedCommand>().is_err());
}

#[test]
fn the_environment_is_what_the_grant_lists() {
    let with = |env: &str| {
        PolicySet::compile(source(&format!(
            r#"{{"terminal": {{"enabled": true, "directories": ["/srv/work"], "allowed_commands": ["ls"], "env": {env}}}}}"#
        )))
    };
    let set = with(r#"{"LANG": "C.UTF-8", "TOKEN": "t-${secret:NAME}"}"#);
    let permit = ask::<Terminal>(&set, run(&["ls"], "/srv/work").unwrap()).unwrap();
    let env: Vec<String> = permit
        .terms()
        .env()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(env, ["LANG=C.UTF-8", "TOKEN=t-${secret:NAME}"]);
    for (env, field) in [
        (r#"{"A=B": "x"}"#, "permissions.terminal.env.A=B"),
        (r#"{"A": 1}"#, "permissions.terminal.env.A"),
        (r#"{"A": "${HOME}"}"#, "permissions.terminal.env.A"),
        (r#"["A"]"#, "permissions.terminal.env"),
    ] {
        let set = with(env);
        let problem = set
            .problems()
            .iter()
            .find_map(|problem| problem.field.clone());
        assert_eq!(problem.as_deref(), Some(field), "{env}");
        assert_eq!(
            reason(&ask::<Terminal>(&set, run(&["ls"], "/srv/work").unwrap())),
            "grant_invalid"
        );
    }
}

#[test]
fn the_host_is_nobodys_unless_the_scope_says_so() {
    let grant = r#"{"terminal": {"enabled": true, "directories": ["/srv/work"], "allowed_commands": ["ls"], "mode": "host"}}"#;
    let denial = ask::<Terminal>(&policy(grant), run(&["ls"], "/srv/work").unwrap()).unwrap_err();
    assert_eq!(
        (denial.reason.as_str(), remedy(&denial).as_str()),
        ("forbidden_by_scope", "")
    );
    let scope = r#"{"version": "1.0", "description": "d", "default_config": {}, "limits": {"allow_host_mode": true}}"#;
    let set = policy_with_scope(grant, "terminal", scope);
    let permit = ask::<Terminal>(&set, run(&["ls"], "/srv/work").unwrap()).unwrap();
    assert_eq!(permit.terms().mode(), TerminalMode::Host);
    let set = PolicySet::compile(source(&grant.replace("host", "Host")));
    assert!(set.problems()[0].message.contains("`sandbox` and `host`"));
}
