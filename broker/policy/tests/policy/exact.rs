//! The whole request in one line, and when the admin is asked about it.

use std::collections::HashMap;

use rumi_policy::edit::{EditError, keep_request};
use rumi_policy::{
    Capability, Custom, CustomAsk, EnvRead, EnvReadAsk, FileRead, FileReadAction, FileReadAsk,
    FileWrite, FileWriteAction, FileWriteAsk, Network, NetworkAsk, Permission, PolicySet, Resolve,
    ResolveAsk, Terminal, TerminalAsk, Tunnel, TunnelAsk,
};
use serde_json::{Value, json};

use crate::world::{ME, ask, grant_text, me, path, policy};

fn all_asked() -> Value {
    json!({
        "file_read": {"enabled": true, "ask": true, "directories": ["/data"]},
        "file_write": {"enabled": true, "ask": true, "directories": ["/data"]},
        "env_read": {"enabled": true, "ask": true, "allowed_keys": ["KEY", "OTHER"]},
        "terminal": {
            "enabled": true, "ask": true, "directories": ["/data"], "allowed_commands": ["git"],
        },
        "network": {
            "enabled": true, "ask": true, "allowed_domains": ["a.test", "b.test:80"],
            "methods": ["GET", "POST"], "tcp": ["db.test:5432"],
        },
        "clock": {"enabled": true, "ask": true},
    })
}

fn with(change: impl FnOnce(&mut Value)) -> PolicySet {
    let mut permissions = all_asked();
    change(&mut permissions);
    policy(&permissions.to_string())
}

fn line<C: Capability>(set: &PolicySet, asked: C::Ask) -> String {
    let permit = ask::<C>(set, asked).unwrap();
    let exact = permit.exact_request();
    exact.line().unwrap().to_owned()
}

fn read(action: FileReadAction, at: &str) -> FileReadAsk {
    FileReadAsk {
        action,
        path: path(at),
    }
}

fn write(action: FileWriteAction, at: &str, bytes: u64) -> FileWriteAsk {
    FileWriteAsk {
        action,
        path: path(at),
        bytes,
    }
}

fn run(argv: &[&str], timeout: Option<u64>) -> TerminalAsk {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    TerminalAsk::new(argv, path("/data"), timeout).unwrap()
}

fn call(args: &str) -> CustomAsk {
    CustomAsk {
        handler: "clock".parse().unwrap(),
        args: args.into(),
        bytes: 2,
        fingerprint: String::new(),
        depth: 0,
    }
}

#[test]
fn a_line_says_all_that_is_asked() {
    let set = with(|_| {});
    let part = |offset, length| FileReadAction::Read { offset, length };
    for (asked, expected) in [
        (read(part(0, 0), "/data/a b"), "read '/data/a b'"),
        (read(part(5, 0), "/data/a"), "read /data/a from 5"),
        (read(part(0, 7), "/data/a"), "read /data/a from 0 for 7"),
        (read(FileReadAction::List, "/data"), "list /data"),
        (read(FileReadAction::Stat, "/data/a"), "stat /data/a"),
    ] {
        assert_eq!(line::<FileRead>(&set, asked), expected);
    }
    let to = FileWriteAction::Rename {
        to: path("/data/b"),
    };
    let parents = FileWriteAction::Mkdir { parents: true };
    let plain = FileWriteAction::Mkdir { parents: false };
    for (asked, expected) in [
        (
            write(FileWriteAction::Write, "/data/a", 5),
            "write /data/a 5 bytes",
        ),
        (
            write(FileWriteAction::Append, "/data/a", 0),
            "append /data/a any size",
        ),
        (
            write(FileWriteAction::Create, "/data/a\n", 1),
            r"create '/data/a\n' 1 bytes",
        ),
        (
            write(FileWriteAction::Delete, "/data/a", 0),
            "delete /data/a",
        ),
        (write(to, "/data/a", 0), "rename /data/a to /data/b"),
        (write(parents, "/data/a", 0), "mkdir /data/a with parents"),
        (write(plain, "/data/a", 0), "mkdir /data/a"),
    ] {
        assert_eq!(line::<FileWrite>(&set, asked), expected);
    }
    let key = EnvReadAsk::One("KEY".parse().unwrap());
    assert_eq!(line::<EnvRead>(&set, key), "read KEY");
    assert_eq!(line::<EnvRead>(&set, EnvReadAsk::All), "list KEY OTHER");
    let url = "https://a.test/x?token=1&y='";
    let get = NetworkAsk::parse("GET", url).unwrap();
    assert_eq!(
        line::<Network>(&set, get),
        r"fetch GET 'https://a.test/x?token=1&y=\''"
    );
    for (authority, expected) in [
        ("a.test:443", "connect a.test:443 as tls"),
        ("b.test:80", "connect b.test:80 as http"),
        ("db.test:5432", "connect db.test:5432 as tcp"),
    ] {
        let asked = TunnelAsk::parse(authority).unwrap();
        let set = with(|all| drop(all["network"].as_object_mut().unwrap().remove("methods")));
        assert_eq!(line::<Tunnel>(&set, asked), expected);
    }
    assert_eq!(
        line::<Custom>(&set, call(r#"{"a": 1}"#)),
        r#"call clock '{"a": 1}'"#
    );
    let commit = run(&["git", "commit", "-m", "it's", ""], Some(900));
    assert_eq!(
        line::<Terminal>(&set, commit),
        r"run in /data for 900 ms -- git commit -m 'it\'s' ''"
    );
    let set = with(|all| all["terminal"]["env"] = json!({"B": "1", "A": "2"}));
    assert_eq!(
        line::<Terminal>(&set, run(&["git"], None)),
        "run in /data with A,B -- git"
    );
    let set = with(|all| {
        all["network"]["inject"] = json!({"a.test": {"authorization": "Bearer ${secret:KEY}"}});
    });
    let get = NetworkAsk::parse("GET", "https://a.test/").unwrap();
    assert_eq!(
        line::<Network>(&set, get),
        "fetch GET https://a.test/ carrying authorization"
    );
}

#[test]
fn two_commands_that_differ_have_lines_that_differ() {
    let set = with(|_| {});
    let words = [
        "git", "a", "a b", "", "'", "\\", "\\'", "--", "for", "9", "ms", "' '", "\n", "n",
    ];
    let mut seen: HashMap<String, (Vec<&str>, Option<u64>)> = HashMap::new();
    for timeout in [None, Some(9)] {
        for a in words {
            for b in words {
                for c in words {
                    for argv in [
                        vec!["git"],
                        vec!["git", a],
                        vec!["git", a, b],
                        vec!["git", a, b, c],
                    ] {
                        let line = line::<Terminal>(&set, run(&argv, timeout));
                        assert!(line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
                        let this = (argv, timeout);
                        let other = seen.entry(line).or_insert_with(|| this.clone());
                        assert_eq!(*other, this);
                    }
                }
            }
        }
    }
    assert!(seen.len() > 5_000);
}

#[test]
fn the_admin_is_asked_about_all_but_what_has_no_effect() {
    let asked = with(|_| {});
    let unasked = with(|all| {
        for (_, permission) in all.as_object_mut().unwrap() {
            permission["ask"] = json!(false);
        }
    });
    fn both<C: Capability>(asked: &PolicySet, unasked: &PolicySet, it: C::Ask) {
        let question = ask::<C>(asked, it.clone()).unwrap().question();
        assert!(question.unwrap().line().is_some());
        assert_eq!(ask::<C>(unasked, it).unwrap().question(), None);
    }
    both::<FileRead>(&asked, &unasked, read(FileReadAction::Stat, "/data/a"));
    both::<FileWrite>(
        &asked,
        &unasked,
        write(FileWriteAction::Delete, "/data/a", 0),
    );
    both::<EnvRead>(&asked, &unasked, EnvReadAsk::All);
    both::<Terminal>(&asked, &unasked, run(&["git"], None));
    both::<Custom>(&asked, &unasked, call("{}"));
    let get = NetworkAsk::parse("GET", "https://a.test/").unwrap();
    both::<Network>(&asked, &unasked, get);
    both::<Tunnel>(&asked, &unasked, TunnelAsk::parse("db.test:5432").unwrap());
    let resolve = ResolveAsk::parse("db.test").unwrap();
    assert_eq!(ask::<Resolve>(&asked, resolve).unwrap().question(), None);
}

#[test]
fn what_is_kept_is_not_asked_about_and_its_sibling_is() {
    let set = with(|all| {
        all["network"]["always"] = json!(["fetch GET https://a.test/x"]);
        all["terminal"]["always"] = json!(["run in /data -- git log"]);
        all["clock"]["always"] = json!(["call clock {}"]);
    });
    let asks = |method, url| {
        let it = NetworkAsk::parse(method, url).unwrap();
        ask::<Network>(&set, it).unwrap().question().is_some()
    };
    assert!(!asks("GET", "https://a.test/x"));
    for (method, url) in [
        ("POST", "https://a.test/x"),
        ("GET", "https://a.test/x?y"),
        ("GET", "https://a.test/x?"),
        ("GET", "https://a.test/X"),
        ("GET", "https://a.test/x/"),
        ("GET", "https://a.test/%78"),
    ] {
        assert!(asks(method, url), "{method} {url}");
    }
    let runs = |argv: &[&str], timeout| {
        let permit = ask::<Terminal>(&set, run(argv, timeout)).unwrap();
        permit.question().is_some()
    };
    assert!(!runs(&["git", "log"], None));
    assert!(runs(&["git", "log", ""], None));
    assert!(runs(&["git"], None));
    assert!(runs(&["git", "log"], Some(1)));
    let calls = |args| {
        ask::<Custom>(&set, call(args))
            .unwrap()
            .question()
            .is_some()
    };
    assert!(!calls("{}"));
    assert!(calls("{ }"));
    // A new variable or a secret in the environment is another request.
    let set = with(|all| {
        all["terminal"]["always"] = json!(["run in /data -- git log"]);
        all["terminal"]["env"] = json!({"TOKEN": "${secret:KEY}"});
    });
    let permit = ask::<Terminal>(&set, run(&["git", "log"], None)).unwrap();
    assert!(permit.question().is_some());
}

#[test]
fn a_request_that_another_header_may_change_is_asked_about_each_time() {
    let told = "fetch POST https://a.test/x with x-http-method-override";
    let set = policy(
        &json!({"network": {
            "enabled": true, "ask": true, "allowed_domains": ["a.test"], "always": [told],
        }})
        .to_string(),
    );
    let it = NetworkAsk::parse("POST", "https://a.test/x").unwrap();
    let permit = ask::<Network>(&set, it.with_headers(["X-HTTP-Method-Override"])).unwrap();
    let question = permit.question().expect("asked");
    assert_eq!(question.line(), Some(told));
    assert!(!question.may_be_kept());
}

#[test]
fn a_request_is_kept_in_a_grant_that_is_there_and_in_use() {
    let network = Permission::Network.into();
    let keep = |text: &str, request: &str| {
        let before = grant_text(text);
        keep_request(Some(before.as_bytes()), &me(), &network, request)
    };
    let granted = r#"{"network": {"enabled": true, "allowed_domains": ["a.test"], "ask": true}}"#;
    let edited = keep(granted, "fetch GET https://a.test/").unwrap();
    assert!(edited.changed);
    let kept: Value = serde_json::from_slice(&edited.bytes).unwrap();
    assert_eq!(
        kept["permissions"]["network"]["always"],
        json!(["fetch GET https://a.test/"])
    );
    let again = keep_request(
        Some(&edited.bytes),
        &me(),
        &network,
        "fetch GET https://a.test/",
    );
    assert!(!again.unwrap().changed);
    let more = keep_request(
        Some(&edited.bytes),
        &me(),
        &network,
        "fetch GET https://a.test/y",
    );
    let more: Value = serde_json::from_slice(&more.unwrap().bytes).unwrap();
    assert_eq!(
        more["permissions"]["network"]["always"][1],
        "fetch GET https://a.test/y"
    );
    let long = "x".repeat(17 << 10);
    assert!(matches!(keep(granted, &long), Err(EditError::File(_))));
    let off = granted.replace("true, \"allowed", "false, \"allowed");
    assert!(matches!(keep(&off, "x"), Err(EditError::Disabled { .. })));
    assert!(matches!(keep("{}", "x"), Err(EditError::Missing { .. })));
    assert!(matches!(
        keep_request(None, &me(), &network, "x"),
        Err(EditError::Missing { .. })
    ));
    assert!(matches!(keep("{", "x"), Err(EditError::File(_))));
    assert_eq!(
        keep("{}", "x").unwrap_err().to_string(),
        format!("the grant of `{ME}` has no `network`")
    );
}
