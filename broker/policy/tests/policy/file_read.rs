//! file_read.

use rumi_policy::{
    Capability, Confirmed, Denial, FileKind, FileRead, FileReadAction, FileReadAsk, FileReadFound,
    PolicySet,
};

use crate::world::{ask, path, policy, policy_with_scope, reason, remedy};

fn read(text: &str) -> FileReadAsk {
    FileReadAsk {
        action: FileReadAction::Read {
            offset: 0,
            length: 0,
        },
        path: path(text),
    }
}

fn with(action: FileReadAction, text: &str) -> FileReadAsk {
    FileReadAsk {
        action,
        path: path(text),
    }
}

fn found(real_root: &str, real_path: &str) -> FileReadFound {
    FileReadFound {
        kind: FileKind::File,
        size: 10,
        real_root: path(real_root),
        real_path: path(real_path),
        links: 1,
    }
}

fn confirm(
    set: &PolicySet,
    asked: FileReadAsk,
    found: &FileReadFound,
) -> Result<Confirmed<FileRead>, Denial> {
    ask::<FileRead>(set, asked)
        .unwrap_or_else(|denial| panic!("{denial}"))
        .confirm(found)
}

fn docs(more: &str) -> PolicySet {
    policy(&format!(
        r#"{{"file_read": {{"enabled": true, "directories": ["/home/user/documents"]{more}}}}}"#
    ))
}

#[test]
fn a_path_is_below_a_granted_directory_or_refused() {
    let set = docs("");
    for (text, relative) in [
        ("/home/user/documents", ""),
        ("/home/user/documents/a.txt", "a.txt"),
        ("/home/user/documents/a/b/c", "a/b/c"),
        ("/home/user/documents/%2e%2e/x", "%2e%2e/x"),
    ] {
        let permit = ask::<FileRead>(&set, with(FileReadAction::Stat, text)).unwrap();
        assert_eq!(
            (permit.terms().root().as_str(), permit.terms().relative()),
            ("/home/user/documents", relative)
        );
        assert_eq!(permit.grant(), "default:tool:my_tool.json");
        assert_eq!(permit.policy(), set.hash());
    }
    for text in [
        "/",
        "/home",
        "/home/user",
        "/home/user/documents2/a",
        "/home/user/document",
        "/home/user/other/a",
        "/a",
    ] {
        assert_eq!(
            reason(&ask::<FileRead>(&set, read(text))),
            "outside_directory",
            "{text}"
        );
    }
}

#[test]
fn remedies_are_narrow_and_exact() {
    let set = docs("");
    let cases = [
        (
            read("/srv/data/a.txt"),
            "packctl grant add default:tool:my_tool file_read /srv/data",
        ),
        (
            with(FileReadAction::Stat, "/srv/data/a.txt"),
            "packctl grant add default:tool:my_tool file_read /srv/data",
        ),
        (
            with(FileReadAction::List, "/srv/data"),
            "packctl grant add default:tool:my_tool file_read /srv/data",
        ),
        (
            read("/srv/my data/it's"),
            "packctl grant add default:tool:my_tool file_read '/srv/my data'",
        ),
        (
            read("/srv/it's/a"),
            r"packctl grant add default:tool:my_tool file_read '/srv/it'\''s'",
        ),
        (
            read("/srv/$(reboot)/a"),
            "packctl grant add default:tool:my_tool file_read '/srv/$(reboot)'",
        ),
        (
            read("/srv/a\nb\u{1b}/c"),
            r"packctl grant add default:tool:my_tool file_read $'/srv/a\x0ab\x1b'",
        ),
        (read("/top"), ""),
    ];
    for (asked, expected) in cases {
        let denial = ask::<FileRead>(&set, asked).unwrap_err();
        assert_eq!(remedy(&denial), expected);
    }
    let nothing = policy("{}");
    let denial = ask::<FileRead>(&nothing, read("/srv/data/a.txt")).unwrap_err();
    assert_eq!(denial.reason.as_str(), "no_grant");
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool file_read /srv/data"
    );
    assert_eq!(
        remedy(&ask::<FileRead>(&nothing, read("/etc/shadow")).unwrap_err()),
        "",
        "no grant would help"
    );
}

#[test]
fn forbidden_paths_are_refused_under_a_grant_of_everything() {
    let set = policy(r#"{"file_read": {"enabled": true, "directories": ["/"]}}"#);
    assert_eq!(
        ask::<FileRead>(&set, read("/srv/a"))
            .unwrap()
            .terms()
            .relative(),
        "srv/a"
    );
    for text in [
        "/etc/shadow",
        "/proc",
        "/proc/1/environ",
        "/sys/kernel",
        "/dev/sda",
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/home/user/.ssh",
        "/home/user/.ssh/config",
        "/root/.ssh/id_rsa",
        "/srv/backup/.ssh/x",
        "/srv/id_rsa",
        "/srv/a.kdbx",
        "/home/u/.config/gcloud/x",
        "/home/u/.aws/credentials",
        "/srv/app/.env",
        "/srv/app/.env.local",
        "/srv/docker.sock",
        "/srv/rumi/grants",
        "/srv/rumi/grants/a.json",
        "/srv/state/keys/k",
    ] {
        let denial = ask::<FileRead>(&set, read(text)).unwrap_err();
        assert_eq!(
            (denial.reason.as_str(), remedy(&denial).as_str()),
            ("forbidden_by_scope", ""),
            "{text}"
        );
        assert!(
            denial.detail.is_some(),
            "the admin must learn the rule for {text}"
        );
        // The same place, reached through a link.
        let answer = confirm(&set, read("/srv/link"), &found("/", text));
        assert_eq!(reason(&answer), "forbidden_by_scope", "{text} by link");
    }
    for text in [
        "/etc/hostname",
        "/etc/shadows",
        "/home/user/.sshx",
        "/home/u/.config/x",
        "/srv/rumi/grants2",
        "/procx",
    ] {
        assert_eq!(reason(&ask::<FileRead>(&set, read(text))), "ok", "{text}");
    }
}

#[test]
fn what_was_found_is_judged() {
    let set = docs(r#", "max_bytes": 100"#);
    let root = "/home/user/documents";
    let at = |name: &str| format!("{root}/{name}");
    let base = found(root, &at("a"));
    assert_eq!(
        confirm(&set, read(&at("a")), &base).unwrap().facts().bytes,
        10
    );
    for kind in [FileKind::Directory, FileKind::Symlink, FileKind::Other] {
        let answer = confirm(
            &set,
            read(&at("a")),
            &FileReadFound {
                kind,
                ..base.clone()
            },
        );
        assert_eq!(reason(&answer), "not_a_file", "{kind:?}");
    }
    let list = with(FileReadAction::List, root);
    assert_eq!(reason(&confirm(&set, list.clone(), &base)), "not_a_file");
    let directory = FileReadFound {
        kind: FileKind::Directory,
        links: 9,
        ..found(root, root)
    };
    assert!(!confirm(&set, list, &directory).unwrap().facts().hard_links);
    let outside = found(root, "/home/user/documents2/a");
    assert_eq!(
        reason(&confirm(&set, read(&at("a")), &outside)),
        "outside_directory"
    );
    let linked = FileReadFound {
        links: 2,
        ..base.clone()
    };
    assert!(
        confirm(&set, read(&at("a")), &linked)
            .unwrap()
            .facts()
            .hard_links
    );
}

#[test]
fn sizes_are_counted_to_the_byte() {
    let set = docs(r#", "max_bytes": 100"#);
    let name = "/home/user/documents/a";
    let cases = [
        (0, 0, 100, Ok(100)),
        (0, 0, 101, Err("too_large")),
        (0, 100, 101, Ok(100)),
        (0, 101, 101, Err("too_large")),
        (1, 0, 101, Ok(100)),
        (200, 0, 101, Ok(0)),
        (u64::MAX, u64::MAX, 5, Ok(0)),
        (0, u64::MAX, 100, Ok(100)),
        (0, 0, 0, Ok(0)),
        (5, 10, 7, Ok(2)),
    ];
    for (offset, length, size, expected) in cases {
        let asked = with(FileReadAction::Read { offset, length }, name);
        let found = FileReadFound {
            size,
            ..found("/home/user/documents", name)
        };
        let answer = confirm(&set, asked, &found).map(|confirmed| confirmed.facts().bytes);
        assert_eq!(
            answer.map_err(|denial| denial.reason.as_str()),
            expected,
            "{offset} {length} {size}"
        );
    }
    let scope = r#"{"version": "1.0", "description": "", "default_config": {}, "limits": {"max_bytes": 50}}"#;
    let grant = r#"{"file_read": {"enabled": true, "directories": ["/srv"], "max_bytes": 100}}"#;
    let set = policy_with_scope(grant, "file_read", scope);
    let found = FileReadFound {
        size: 51,
        ..found("/srv", "/srv/a")
    };
    assert_eq!(
        reason(&confirm(&set, read("/srv/a"), &found)),
        "scope_limit"
    );
    assert_eq!(
        ask::<FileRead>(&set, read("/srv/a"))
            .unwrap()
            .terms()
            .max_bytes(),
        50
    );
}

#[test]
fn patterns_narrow() {
    let set = docs(
        r#", "patterns": ["**/*.md", "top/*.txt"], "exclude": ["drafts", "a/private/**", "*.secret.md"]"#,
    );
    let root = "/home/user/documents";
    for (name, expected) in [
        ("a.md", "ok"),
        ("x/y/a.md", "ok"),
        ("top/a.txt", "ok"),
        ("top/x/a.txt", "pattern_excluded"),
        ("a.txt", "pattern_excluded"),
        ("drafts", "pattern_excluded"),
        ("drafts/a.md", "pattern_excluded"),
        ("x/drafts/y/a.md", "pattern_excluded"),
        ("a/private/a.md", "pattern_excluded"),
        ("b/a/private/a.md", "ok"),
        ("x/a.secret.md", "pattern_excluded"),
        ("draftsx/a.md", "ok"),
    ] {
        assert_eq!(
            reason(&ask::<FileRead>(&set, read(&format!("{root}/{name}")))),
            expected,
            "{name}"
        );
    }
    // A directory need not match, unless it is excluded.
    assert_eq!(
        reason(&ask::<FileRead>(&set, with(FileReadAction::List, root))),
        "ok"
    );
    let drafts = format!("{root}/drafts");
    assert_eq!(
        reason(&ask::<FileRead>(&set, with(FileReadAction::List, &drafts))),
        "pattern_excluded"
    );
    // Looking at a file tells as much as its name does, so a file must match.
    let stat = with(FileReadAction::Stat, &format!("{root}/a.txt"));
    assert_eq!(
        reason(&confirm(
            &set,
            stat.clone(),
            &found(root, &format!("{root}/a.txt"))
        )),
        "pattern_excluded"
    );
    let directory = FileReadFound {
        kind: FileKind::Directory,
        ..found(root, &format!("{root}/a.txt"))
    };
    assert_eq!(reason(&confirm(&set, stat, &directory)), "ok");
    // A link does not lend its name to what it points to, nor the other way round.
    for real in ["drafts/a.md", "a.txt", "x/a.secret.md"] {
        let answer = confirm(
            &set,
            read(&format!("{root}/fine.md")),
            &found(root, &format!("{root}/{real}")),
        );
        assert_eq!(reason(&answer), "pattern_excluded", "{real}");
    }
    let listing = ask::<FileRead>(&set, with(FileReadAction::List, root)).unwrap();
    let top = path(root);
    let children = listing.terms().children(&top, &top);
    let shows = |name, kind| children.shows(name, kind);
    assert!(shows("a.md", FileKind::File) && shows("x", FileKind::Directory));
    assert!(!shows("a.txt", FileKind::File) && !shows("drafts", FileKind::Directory));
    let below = ask::<FileRead>(&set, with(FileReadAction::List, &format!("{root}/top"))).unwrap();
    let (top, elsewhere) = (path(&format!("{root}/top")), path(&format!("{root}/other")));
    let children = below.terms().children(&top, &top);
    assert!(children.shows("a.txt", FileKind::File));
    // A link lends its name to what is behind it as little in a listing.
    let children = below.terms().children(&top, &elsewhere);
    assert!(!children.shows("a.txt", FileKind::File));
}

#[test]
fn a_listing_shows_what_can_be_asked_for_whatever_root_is_nearest() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv", "/srv/a"],
            "patterns": ["a/*.md"], "exclude": ["a/keys"]}}"#,
    );
    let listing = ask::<FileRead>(&set, with(FileReadAction::List, "/srv/a")).unwrap();
    let directory = path("/srv/a");
    let children = listing.terms().children(&directory, &directory);
    for (name, kind) in [
        ("x.md", FileKind::File),
        ("x.txt", FileKind::File),
        ("keys", FileKind::Directory),
        ("more", FileKind::Directory),
    ] {
        let action = match kind {
            FileKind::File => FileReadAction::Read {
                offset: 0,
                length: 0,
            },
            _ => FileReadAction::List,
        };
        let asked = ask::<FileRead>(&set, with(action, &format!("/srv/a/{name}")));
        assert_eq!(children.shows(name, kind), asked.is_ok(), "{name}");
    }
}

#[test]
fn an_exclusion_holds_from_every_granted_directory_above() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv", "/srv/a"], "exclude": ["a/keys/**", "a/b"]}}"#,
    );
    assert_eq!(
        reason(&ask::<FileRead>(&set, read("/srv/a/keys/x"))),
        "pattern_excluded"
    );
    assert_eq!(
        reason(&ask::<FileRead>(&set, read("/srv/a/b/x"))),
        "pattern_excluded"
    );
    let permit = ask::<FileRead>(&set, read("/srv/a/c")).unwrap();
    assert_eq!(
        permit.terms().root().as_str(),
        "/srv/a",
        "the nearest root is picked"
    );
    let wide = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv", "/srv/a"], "patterns": ["a/*.md"]}}"#,
    );
    let permit = ask::<FileRead>(&wide, read("/srv/a/x.md")).unwrap();
    assert_eq!(
        permit.terms().root().as_str(),
        "/srv",
        "the root whose patterns match is picked"
    );
}

#[test]
fn a_link_leads_round_no_exclusion_of_an_outer_directory() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv", "/srv/a"], "exclude": ["a/keys"]}}"#,
    );
    let led_to = found("/srv/a", "/srv/a/keys/x");
    assert_eq!(
        reason(&confirm(&set, read("/srv/a/link"), &led_to)),
        "pattern_excluded"
    );
    let led_to = found("/srv/a", "/srv/a/other/x");
    assert_eq!(reason(&confirm(&set, read("/srv/a/link"), &led_to)), "ok");
}

#[test]
fn what_can_be_read_can_be_looked_at() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv", "/srv/a"], "patterns": ["a/*.md"]}}"#,
    );
    let looked_at = with(FileReadAction::Stat, "/srv/a/x.md");
    let led_to = found("/srv", "/srv/a/x.md");
    for asked in [read("/srv/a/x.md"), looked_at] {
        let permit = ask::<FileRead>(&set, asked).unwrap();
        assert_eq!(permit.terms().root().as_str(), "/srv");
        assert_eq!(reason(&permit.confirm(&led_to)), "ok");
    }
}

#[test]
fn an_empty_list_allows_nothing() {
    let set = policy(r#"{"file_read": {"enabled": true, "directories": []}}"#);
    assert_eq!(
        reason(&ask::<FileRead>(&set, read("/srv/a"))),
        "outside_directory"
    );
    let none = docs(r#", "patterns": []"#);
    assert_eq!(
        reason(&ask::<FileRead>(&none, read("/home/user/documents/a"))),
        "pattern_excluded"
    );
    let off = policy(r#"{"file_read": {"enabled": false, "directories": ["/srv"]}}"#);
    assert_eq!(reason(&ask::<FileRead>(&off, read("/srv/a"))), "disabled");
}

#[test]
fn records_say_what_was_asked() {
    assert_eq!(FileRead::action(&read("/a")), "read");
    assert_eq!(FileRead::target(&read("/a/b")), "/a/b");
}

#[test]
fn other_permissions_do_not_leak_in() {
    let set = policy(r#"{"file_write": {"enabled": true, "directories": ["/srv"]}}"#);
    assert_eq!(reason(&ask::<FileRead>(&set, read("/srv/a"))), "no_grant");
}

#[test]
fn a_file_is_granted_by_itself_and_nothing_beside_it() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv/docs"], "patterns": ["*.md"],
            "exclude": ["*.key"], "files": ["/srv/data/a.txt", "/srv/docs/b.txt", "/top", "/srv/data/x.key"]}}"#,
    );
    for (text, root, relative) in [
        ("/srv/data/a.txt", "/srv/data", "a.txt"),
        ("/srv/docs/b.txt", "/srv/docs", "b.txt"),
        ("/srv/docs/c.md", "/srv/docs", "c.md"),
        ("/top", "/", "top"),
    ] {
        let permit = ask::<FileRead>(&set, read(text)).unwrap();
        assert_eq!(
            (permit.terms().root().as_str(), permit.terms().relative()),
            (root, relative)
        );
        permit.confirm(&found(root, text)).unwrap();
        assert!(ask::<FileRead>(&set, with(FileReadAction::Stat, text)).is_ok());
    }
    for (text, code) in [
        ("/srv/data/b.txt", "outside_directory"),
        ("/srv/data/a.txt2", "outside_directory"),
        ("/srv/data/a.txt/below", "outside_directory"),
        ("/srv/data", "outside_directory"),
        ("/srv/docs/c.txt", "pattern_excluded"),
        ("/srv/data/x.key", "pattern_excluded"),
    ] {
        assert_eq!(reason(&ask::<FileRead>(&set, read(text))), code, "{text}");
    }
    // Its name says nothing of what lies below it.
    let listed = ask::<FileRead>(&set, with(FileReadAction::List, "/srv/data/a.txt"));
    assert_eq!(reason(&listed), "outside_directory");
    // A symlink in its place leads to a file that was not granted, though in the same directory.
    let led = confirm(
        &set,
        read("/srv/data/a.txt"),
        &found("/srv/data", "/srv/data/b.txt"),
    );
    assert_eq!(reason(&led), "outside_directory");
    let led = confirm(&set, read("/top"), &found("/", "/etc/passwd"));
    assert_eq!(reason(&led), "outside_directory");
}

#[test]
fn a_listing_shows_a_file_that_is_granted_by_itself() {
    let set = policy(
        r#"{"file_read": {"enabled": true, "directories": ["/srv/docs"], "patterns": ["*.md"],
            "files": ["/srv/docs/b.txt", "/srv/docs/in/c.txt"]}}"#,
    );
    let asked = path("/srv/docs");
    let permit = ask::<FileRead>(&set, with(FileReadAction::List, "/srv/docs")).unwrap();
    let children = permit.terms().children(&asked, &asked);
    for (name, shown) in [("a.md", true), ("b.txt", true), ("c.txt", false)] {
        assert_eq!(children.shows(name, FileKind::File), shown, "{name}");
    }
}
