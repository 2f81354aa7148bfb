//! What a pack's author who wants out would try.

use std::collections::HashSet;

use rumi_policy::{
    AbsPath, Denial, FileRead, FileReadAction, FileReadAsk, Network, NetworkAsk, Pattern,
    PolicySet, TerminalAsk,
};

use crate::world::{ask, path, policy, reason};

fn home() -> PolicySet {
    policy(r#"{"file_read": {"enabled": true, "directories": ["/home/user/documents"]}}"#)
}

fn read(set: &PolicySet, text: &str) -> &'static str {
    let Ok(path) = text.parse::<AbsPath>() else {
        return "bad_request";
    };
    let action = FileReadAction::Read {
        offset: 0,
        length: 0,
    };
    reason(&ask::<FileRead>(set, FileReadAsk { action, path }))
}

#[test]
fn traversal_in_no_spelling_leads_out() {
    let set = home();
    let root = "/home/user/documents";
    let ups = ["..", "../..", "a/../..", ".././..", "a/b/../../.."];
    for up in ups {
        for tail in ["", "/", "/x", "/.ssh/id_rsa", "//etc/passwd"] {
            assert_eq!(
                read(&set, &format!("{root}/{up}{tail}")),
                "bad_request",
                "{up}{tail}"
            );
        }
    }
    // Encoded forms are names of files that nobody has, below the granted directory.
    for name in [
        "%2e%2e/x",
        "..%2fx",
        "%252e%252e",
        "..\\..\\x",
        "\u{ff0e}\u{ff0e}/x",
        "..;/x",
        "... /x",
        "~root",
        "$HOME",
    ] {
        let path = format!("{root}/{name}");
        let permit = ask::<FileRead>(
            &set,
            FileReadAsk {
                action: FileReadAction::Stat,
                path: self::path(&path),
            },
        )
        .unwrap();
        assert_eq!(permit.terms().relative(), name, "nothing is decoded");
    }
    for path in [
        "/home/user/documents\0/x",
        "/home/user/documents/\0",
        "home/user/documents/x",
        "/home/user/./documents/x",
    ] {
        assert_eq!(read(&set, path), "bad_request", "{path:?}");
    }
    for path in [
        "/home/user/documentsx",
        "/home/user/documents\u{301}/x",
        "/home/user/Documents/x",
        "/home/user/documents ",
    ] {
        assert_eq!(read(&set, path), "outside_directory", "{path:?}");
    }
}

#[test]
fn every_reachable_relative_path_stays_one() {
    // Whatever is allowed splits into a granted root and a relative path that has no way up.
    let set = policy(r#"{"file_read": {"enabled": true, "directories": ["/", "/srv", "/srv/a"]}}"#);
    let parts = [
        "a", "..", ".", "", "srv", "*", "~", "..a", "a..", "%2e", "\u{2215}", "a\nb",
    ];
    let mut allowed = 0;
    for first in parts {
        for second in parts {
            for third in parts {
                let text = format!("/{first}/{second}/{third}");
                let Ok(path) = text.parse::<AbsPath>() else {
                    continue;
                };
                let asked = FileReadAsk {
                    action: FileReadAction::Stat,
                    path,
                };
                let Ok(permit) = ask::<FileRead>(&set, asked) else {
                    continue;
                };
                let relative = permit.terms().relative();
                assert!(
                    !relative.starts_with('/')
                        && !relative.split('/').any(|s| matches!(s, ".." | "." | "")),
                    "{text}"
                );
                assert_eq!(permit.terms().root().join(relative).unwrap().as_str(), text);
                allowed += 1;
            }
        }
    }
    assert!(allowed > 500, "{allowed}");
}

/// A pattern of a grant must not match across a `/` unless it says `**`.
#[test]
fn globs_do_not_cross_segments() {
    for pattern in [
        "a*z",
        "a?z",
        "a[.-0]z",
        "*",
        "a*",
        "*z",
        "[a-z]*",
        "{a,b}*",
        "a{*,x}z",
        "docs[ -~]secret",
    ] {
        let Ok(pattern) = pattern.parse::<Pattern>() else {
            continue;
        };
        let set = policy(&format!(
            r#"{{"file_read": {{"enabled": true, "directories": ["/srv"], "patterns": ["{pattern}"]}}}}"#
        ));
        for path in ["/srv/a/z", "/srv/a/b/z", "/srv/docs/secret"] {
            assert_eq!(
                read(&set, path),
                "pattern_excluded",
                "`{pattern}` for {path}"
            );
        }
    }
}

#[test]
fn globs_do_not_explode() {
    let stars = "*a".repeat(200);
    let braces = format!("{}x", "{a,b}".repeat(60));
    let set = policy(&format!(
        r#"{{"file_read": {{"enabled": true, "directories": ["/srv"], "patterns": ["{stars}", "{braces}"], "exclude": ["**/a/**/a/**/b"]}}}}"#
    ));
    let long = format!("/srv/{}", vec!["a".repeat(200); 18].join("/"));
    let begin = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(read(&set, &long), "pattern_excluded");
    }
    assert!(
        begin.elapsed().as_millis() < 2000,
        "{:?} for 100 decisions",
        begin.elapsed()
    );
}

#[test]
fn deep_paths_and_large_grants_stay_quick() {
    let directories: Vec<_> = (0..4000).map(|n| format!("\"/data/d{n}\"")).collect();
    let set = policy(&format!(
        r#"{{"file_read": {{"enabled": true, "directories": [{}]}}}}"#,
        directories.join(",")
    ));
    let deep = format!("/data/d3999/{}", vec!["a"; 1000].join("/"));
    let begin = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(read(&set, &deep), "ok");
        assert_eq!(read(&set, "/data/d4000/x"), "outside_directory");
    }
    assert!(begin.elapsed().as_millis() < 5000, "{:?}", begin.elapsed());
}

/// No address of this host or of a private network is reachable by a way of writing it.
#[test]
fn addresses_have_one_spelling() {
    let set = policy(
        r#"{"network": {"enabled": true, "allowed_domains": ["127.0.0.1", "*.nip.example", "a.example"]}}"#,
    );
    let octets: [u32; 4] = [127, 0, 0, 1];
    let styles: [fn(u32) -> String; 5] = [
        |n| n.to_string(),
        |n| format!("0{n:o}"),
        |n| format!("0x{n:x}"),
        |n| format!("0X{n:X}"),
        |n| format!("{n:03}"),
    ];
    let mut spellings = HashSet::new();
    for a in styles {
        for b in styles {
            for c in styles {
                for d in styles {
                    let [w, x, y, z] = octets;
                    spellings.insert(format!("{}.{}.{}.{}", a(w), b(x), c(y), d(z)));
                    spellings.insert(format!("{}.{}.{}", a(w), b(x), d(z)));
                    spellings.insert(format!("{}.{}", a(w), d(z)));
                    spellings.insert(a((w << 24) | z));
                }
            }
        }
    }
    assert!(spellings.len() > 250);
    for host in spellings
        .iter()
        .flat_map(|s| [s.clone(), format!("{s}."), format!("{s}..")])
        .filter(|s| s != "127.0.0.1")
    {
        let answer = NetworkAsk::parse("GET", &format!("https://{host}/"));
        assert_eq!(reason(&answer), "bad_request", "{host}");
    }
    assert_eq!(
        reason(&ask::<Network>(
            &set,
            NetworkAsk::parse("GET", "https://127.0.0.1.nip.example/").unwrap()
        )),
        "ok"
    );
}

#[test]
fn what_a_pack_sends_comes_back_harmless() {
    let set = home();
    let nasty = "/srv/\u{1b}]0;pwned\u{7}/\u{202e}gnp.\r\n' ; rm -rf / #/x";
    let asked = FileReadAsk {
        action: FileReadAction::Stat,
        path: path(nasty),
    };
    let denial = ask::<FileRead>(&set, asked).unwrap_err();
    let command = denial.remedy.as_ref().unwrap().to_string();
    for text in [denial.sentence.as_str(), command.as_str()] {
        assert!(
            !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
    }
    // A shell reads the command as exactly the words that were meant.
    let output = std::process::Command::new("bash")
        .args(["-c", &command.replacen("packctl", "printf '%s\\0'", 1)])
        .output()
        .unwrap();
    let words: Vec<_> = output
        .stdout
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    let argv = denial.remedy.as_ref().unwrap().argv();
    assert_eq!(words[..words.len() - 1], argv[1..]);
    let long = format!("/srv/{}", "a/".repeat(2000) + "b");
    let asked = FileReadAsk {
        action: FileReadAction::Stat,
        path: path(&long),
    };
    assert!(ask::<FileRead>(&set, asked).unwrap_err().sentence.len() < 1000);
}

#[test]
fn no_shell_is_reachable_by_a_command_in_one_string() {
    let operators = [
        "|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "<<<", "\n", "`", "$(", "(", ")", "|&",
        ">&", "&>", ";;",
    ];
    for operator in operators {
        for text in [
            format!("ls {operator} id"),
            format!("ls{operator}id"),
            format!("{operator}id"),
            format!("ls 'a' \"b\"{operator}c"),
            format!("ls \\\\{operator}id"),
            format!("ls '\\'{operator}id"),
            format!("ls \"\\\\\"{operator}id"),
        ] {
            let answer: Result<_, Denial> = TerminalAsk::from_command(&text, path("/srv/w"), None);
            assert_eq!(reason(&answer), "bad_request", "{text:?}");
        }
    }
}
