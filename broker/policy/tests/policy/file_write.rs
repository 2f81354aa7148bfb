//! file_write.

use rumi_policy::{
    Confirmed, Denial, Existing, FileKind, FileWrite, FileWriteAction, FileWriteAsk,
    FileWriteFound, PolicySet, RenameFound, Usage,
};

use crate::world::{ask, path, policy, reason, remedy};

fn write(action: FileWriteAction, text: &str, bytes: u64) -> FileWriteAsk {
    FileWriteAsk {
        action,
        path: path(text),
        bytes,
    }
}

fn rename(from: &str, to: &str) -> FileWriteAsk {
    write(FileWriteAction::Rename { to: path(to) }, from, 0)
}

fn existing(kind: FileKind) -> Option<Existing> {
    Some(Existing {
        kind,
        size: 10,
        links: 1,
    })
}

fn found(real_root: &str, real_path: &str, existing: Option<Existing>) -> FileWriteFound {
    FileWriteFound {
        existing,
        real_root: path(real_root),
        real_path: path(real_path),
        to: None,
        usage: Some(Usage::default()),
        missing: 1,
        in_place: false,
    }
}

fn moved(
    root: &str,
    from: &str,
    kind: FileKind,
    to: &str,
    over: Option<Existing>,
) -> FileWriteFound {
    let to = RenameFound {
        existing: over,
        real_root: path(root),
        real_path: path(to),
    };
    FileWriteFound {
        to: Some(to),
        ..found(root, from, existing(kind))
    }
}

fn confirm(
    set: &PolicySet,
    asked: FileWriteAsk,
    found: &FileWriteFound,
) -> Result<Confirmed<FileWrite>, Denial> {
    ask::<FileWrite>(set, asked)
        .unwrap_or_else(|denial| panic!("{denial}"))
        .confirm(found)
}

fn srv(more: &str) -> PolicySet {
    policy(&format!(
        r#"{{"file_write": {{"enabled": true, "directories": ["/srv/out", "/srv/more"]{more}}}}}"#
    ))
}

fn everything() -> PolicySet {
    policy(r#"{"file_write": {"enabled": true, "directories": ["/"]}}"#)
}

#[test]
fn the_granted_directory_itself_stays() {
    let set = srv("");
    for action in [
        FileWriteAction::Write,
        FileWriteAction::Delete,
        FileWriteAction::Mkdir { parents: false },
    ] {
        assert_eq!(
            reason(&ask::<FileWrite>(&set, write(action, "/srv/out", 0))),
            "not_a_file"
        );
    }
    let mkdir = FileWriteAction::Mkdir { parents: true };
    assert_eq!(
        reason(&ask::<FileWrite>(&set, write(mkdir, "/srv/out", 0))),
        "ok"
    );
    assert_eq!(
        reason(&ask::<FileWrite>(&set, rename("/srv/out", "/srv/more/x"))),
        "not_a_file"
    );
    assert_eq!(
        reason(&ask::<FileWrite>(&set, rename("/srv/out/x", "/srv/more"))),
        "not_a_file"
    );
}

#[test]
fn a_granted_directory_stays_inside_of_another_too() {
    let set = policy(
        r#"{"file_write": {"enabled": true, "directories": ["/srv", "/srv/a"], "patterns": ["a", "*.md"]}}"#,
    );
    for action in [
        FileWriteAction::Write,
        FileWriteAction::Append,
        FileWriteAction::Create,
        FileWriteAction::Delete,
        FileWriteAction::Mkdir { parents: false },
        FileWriteAction::Rename {
            to: path("/srv/b.md"),
        },
    ] {
        let asked = ask::<FileWrite>(&set, write(action.clone(), "/srv/a", 0));
        assert_eq!(reason(&asked), "not_a_file", "{action:?}");
    }
}

#[test]
fn sizes_are_counted_to_the_byte() {
    let set = srv(r#", "max_bytes": 100"#);
    let at = "/srv/out/a";
    assert_eq!(
        reason(&ask::<FileWrite>(
            &set,
            write(FileWriteAction::Write, at, 100)
        )),
        "ok"
    );
    assert_eq!(
        reason(&ask::<FileWrite>(
            &set,
            write(FileWriteAction::Write, at, 101)
        )),
        "too_large"
    );
    let append = |bytes, size| {
        let there = Some(Existing {
            kind: FileKind::File,
            size,
            links: 1,
        });
        confirm(
            &set,
            write(FileWriteAction::Append, at, bytes),
            &found("/srv/out", at, there),
        )
    };
    assert_eq!(append(10, 90).unwrap().facts().max_bytes, 10);
    assert_eq!(reason(&append(11, 90)), "too_large");
    assert_eq!(
        append(0, 200)
            .map(|c| c.facts().max_bytes)
            .map_err(|d| d.reason.as_str()),
        Err("too_large")
    );
    assert_eq!(reason(&append(1, u64::MAX)), "too_large");
    let new = confirm(
        &set,
        write(FileWriteAction::Create, at, 1),
        &found("/srv/out", at, None),
    );
    assert_eq!(new.unwrap().facts().max_bytes, 100);
}

#[test]
fn only_regular_files_with_one_name_are_written() {
    let set = srv("");
    let at = "/srv/out/a";
    for action in [
        FileWriteAction::Write,
        FileWriteAction::Append,
        FileWriteAction::Create,
    ] {
        for kind in [FileKind::Directory, FileKind::Symlink, FileKind::Other] {
            let answer = confirm(
                &set,
                write(action.clone(), at, 1),
                &found("/srv/out", at, existing(kind)),
            );
            assert_eq!(reason(&answer), "not_a_file", "{action:?} {kind:?}");
        }
        let linked = Some(Existing {
            kind: FileKind::File,
            size: 1,
            links: 2,
        });
        let answer = confirm(
            &set,
            write(action.clone(), at, 1),
            &found("/srv/out", at, linked),
        );
        assert_eq!(reason(&answer), "outside_directory", "{action:?}");
    }
    for kind in [FileKind::Symlink, FileKind::Other] {
        let answer = confirm(
            &set,
            write(FileWriteAction::Delete, at, 0),
            &found("/srv/out", at, existing(kind)),
        );
        assert_eq!(reason(&answer), "not_a_file", "{kind:?}");
    }
    let linked = Some(Existing {
        kind: FileKind::File,
        size: 1,
        links: 2,
    });
    let answer = confirm(
        &set,
        write(FileWriteAction::Delete, at, 0),
        &found("/srv/out", at, linked),
    );
    assert_eq!(
        reason(&answer),
        "ok",
        "deleting a name leaves the other names alone"
    );
}

#[test]
fn a_rename_is_decided_at_both_ends() {
    let set = srv("");
    let permit = ask::<FileWrite>(&set, rename("/srv/out/a", "/srv/more/b")).unwrap();
    assert_eq!(
        permit
            .terms()
            .to()
            .map(|(root, rest)| (root.as_str(), rest)),
        Some(("/srv/more", "b"))
    );
    assert_eq!(
        reason(&ask::<FileWrite>(&set, rename("/srv/out/a", "/srv/b"))),
        "outside_directory"
    );
    assert_eq!(
        reason(&ask::<FileWrite>(&set, rename("/srv/a", "/srv/out/b"))),
        "outside_directory"
    );
    let denial = ask::<FileWrite>(&set, rename("/data/a", "/home/u/b")).unwrap_err();
    assert_eq!(
        remedy(&denial),
        "packctl grant add default:tool:my_tool file_write /data /home/u"
    );
    let without = found("/srv/out", "/srv/out/a", existing(FileKind::File));
    assert_eq!(
        reason(&confirm(&set, rename("/srv/out/a", "/srv/out/b"), &without)),
        "bad_request"
    );
    let asked = || rename("/srv/out/a", "/srv/out/b");
    let file = |kind, over| moved("/srv/out", "/srv/out/a", kind, "/srv/out/b", over);
    assert_eq!(
        reason(&confirm(&set, asked(), &file(FileKind::File, None))),
        "ok"
    );
    assert_eq!(
        reason(&confirm(&set, asked(), &file(FileKind::Other, None))),
        "not_a_file"
    );
    assert_eq!(
        reason(&confirm(
            &set,
            asked(),
            &file(FileKind::File, existing(FileKind::Other))
        )),
        "not_a_file"
    );
    let out = moved(
        "/srv/out",
        "/srv/out/a",
        FileKind::File,
        "/srv/else/b",
        None,
    );
    assert_eq!(reason(&confirm(&set, asked(), &out)), "outside_directory");
}

/// Moving a directory away from above something forbidden would take the name off it.
#[test]
fn directories_around_forbidden_things_are_not_moved() {
    let set = everything();
    for (from, to) in [
        ("/srv/rumi", "/srv/x"),
        ("/srv", "/data"),
        ("/root", "/srv/r"),
        ("/data/x", "/srv/state2"),
        ("/home/u/.config", "/srv/c"),
        ("/srv/x/.config", "/srv/c"),
        ("/data/cargo", "/home/u/.cargo"),
    ] {
        let answer = confirm(
            &set,
            rename(from, to),
            &moved("/", from, FileKind::Directory, to, None),
        );
        let expected = match from {
            "/data/x" | "/root" => "ok",
            _ => "forbidden_by_scope",
        };
        assert_eq!(reason(&answer), expected, "{from} -> {to}");
    }
    // A file of such a name holds nothing.
    let answer = confirm(
        &set,
        rename("/srv/a", "/srv/b"),
        &moved("/", "/srv/a", FileKind::File, "/srv/b", None),
    );
    assert_eq!(reason(&answer), "ok");
    // The same behind a link.
    let answer = confirm(
        &set,
        rename("/data/l", "/data/m"),
        &moved("/", "/srv/rumi", FileKind::Directory, "/data/m", None),
    );
    assert_eq!(reason(&answer), "forbidden_by_scope");
}

#[test]
fn patterns_hold_for_writing() {
    let set = srv(r#", "patterns": ["*.txt"], "exclude": ["no.txt"]"#);
    let root = "/srv/out";
    for (name, expected) in [
        ("a.txt", "ok"),
        ("no.txt", "pattern_excluded"),
        ("a.sh", "pattern_excluded"),
    ] {
        let asked = write(FileWriteAction::Write, &format!("{root}/{name}"), 1);
        assert_eq!(reason(&ask::<FileWrite>(&set, asked)), expected, "{name}");
    }
    let to_script = moved(
        root,
        "/srv/out/a.txt",
        FileKind::File,
        "/srv/out/a.sh",
        None,
    );
    let answer = confirm(&set, rename("/srv/out/a.txt", "/srv/out/a.sh"), &to_script);
    assert_eq!(
        reason(&answer),
        "pattern_excluded",
        "renaming to a name that may not be written"
    );
    let directory = moved(root, "/srv/out/d", FileKind::Directory, "/srv/out/e", None);
    let answer = confirm(&set, rename("/srv/out/d", "/srv/out/e"), &directory);
    assert_eq!(
        reason(&answer),
        "pattern_excluded",
        "what is in it was not looked at"
    );
    let file = found(root, "/srv/out/a.sh", existing(FileKind::File));
    assert_eq!(
        reason(&confirm(
            &set,
            write(FileWriteAction::Delete, "/srv/out/a.sh", 0),
            &file
        )),
        "pattern_excluded"
    );
    let link = found(root, "/srv/out/no.txt", existing(FileKind::File));
    assert_eq!(
        reason(&confirm(
            &set,
            write(FileWriteAction::Write, "/srv/out/a.txt", 0),
            &link
        )),
        "pattern_excluded"
    );
}

#[test]
fn forbidden_paths_are_not_written() {
    let set = everything();
    for text in [
        "/etc/passwd",
        "/usr/bin/ls",
        "/home/u/.bashrc",
        "/home/u/.ssh/authorized_keys",
        "/srv/p/.git/hooks/post-commit",
        "/home/u/.config/systemd/user/x.service",
        "/var/spool/cron/root",
        "/srv/rumi/grants/x.json",
        "/srv/state/audit/1",
        "/home/u/.local/bin/x",
        "/proc/sys/kernel/core_pattern",
        "/home/u/.envrc",
    ] {
        for action in [
            FileWriteAction::Write,
            FileWriteAction::Delete,
            FileWriteAction::Mkdir { parents: true },
        ] {
            assert_eq!(
                reason(&ask::<FileWrite>(&set, write(action, text, 0))),
                "forbidden_by_scope",
                "{text}"
            );
        }
        assert_eq!(
            reason(&ask::<FileWrite>(&set, rename(text, "/srv/x"))),
            "forbidden_by_scope",
            "{text}"
        );
        assert_eq!(
            reason(&ask::<FileWrite>(&set, rename("/srv/x", text))),
            "forbidden_by_scope",
            "{text}"
        );
        let linked = found("/", text, None);
        let answer = confirm(&set, write(FileWriteAction::Write, "/srv/l/x", 0), &linked);
        assert_eq!(reason(&answer), "forbidden_by_scope", "{text} by link");
    }
}

#[test]
fn what_was_made_counts_against_the_quota_and_the_scope_has_the_last_word() {
    let used = |bytes, files, missing| FileWriteFound {
        usage: Some(Usage { bytes, files }),
        missing,
        ..found("/srv/out", "/srv/out/a", None)
    };
    let set = srv(r#", "quota_bytes": 100, "quota_files": 5"#);
    let cases = [
        (FileWriteAction::Create, 10, used(90, 4, 1), true),
        (FileWriteAction::Create, 11, used(90, 4, 1), false),
        (FileWriteAction::Write, 0, used(0, 5, 1), false),
        (FileWriteAction::Append, 0, used(0, 5, 1), false),
        (
            FileWriteAction::Mkdir { parents: true },
            0,
            used(0, 3, 2),
            true,
        ),
        (
            FileWriteAction::Mkdir { parents: true },
            0,
            used(0, 3, 3),
            false,
        ),
        // Over the quota, since it was lowered, whatever adds nothing is still allowed.
        (
            FileWriteAction::Mkdir { parents: true },
            0,
            used(500, 50, 0),
            true,
        ),
        (FileWriteAction::Delete, 0, used(500, 50, 1), true),
    ];
    for (action, bytes, found, allowed) in cases {
        let asked = write(action.clone(), "/srv/out/a", bytes);
        match confirm(&set, asked, &found) {
            Ok(confirmed) => {
                assert!(allowed, "{action:?} {found:?}");
                assert_eq!(confirmed.facts().quota.bytes, 100);
            }
            Err(denial) => {
                assert!(!allowed, "{action:?}: {denial}");
                assert_eq!(denial.reason.as_str(), "quota");
                assert!(denial.remedy.is_none());
            }
        }
    }
    let in_place = |existing| FileWriteFound {
        in_place: true,
        usage: Some(Usage {
            bytes: 100,
            files: 5,
        }),
        ..found("/srv/out", "/srv/out/a", existing)
    };
    let opened = |existing| {
        let asked = write(FileWriteAction::Write, "/srv/out/a", 0);
        confirm(&set, asked, &in_place(existing)).is_ok()
    };
    assert!(opened(existing(FileKind::File)), "nothing new is made");
    assert!(!opened(None));
    let unknown = FileWriteFound {
        usage: None,
        ..found("/srv/out", "/srv/out/a", None)
    };
    let refused = confirm(
        &set,
        write(FileWriteAction::Create, "/srv/out/a", 0),
        &unknown,
    );
    assert_eq!(refused.unwrap_err().reason.as_str(), "quota");
    let deleted = confirm(
        &set,
        write(FileWriteAction::Delete, "/srv/out/a", 0),
        &unknown,
    );
    assert!(deleted.is_ok(), "deleting needs no account");
}

#[test]
fn a_path_is_written_by_itself_and_nothing_beside_it() {
    let set = policy(
        r#"{"file_write": {"enabled": true, "directories": [], "files": ["/srv/out/a", "/srv/out/b"]}}"#,
    );
    for action in [
        FileWriteAction::Look,
        FileWriteAction::Write,
        FileWriteAction::Append,
        FileWriteAction::Create,
        FileWriteAction::Delete,
        FileWriteAction::Mkdir { parents: false },
    ] {
        let permit = ask::<FileWrite>(&set, write(action.clone(), "/srv/out/a", 1)).unwrap();
        assert_eq!(
            (permit.terms().root().as_str(), permit.terms().relative()),
            ("/srv/out", "a")
        );
        permit
            .confirm(&found("/srv/out", "/srv/out/a", None))
            .unwrap();
        for beside in [
            "/srv/out/c",
            "/srv/out",
            "/srv/out/a/below",
            "/srv/out/.a.tmp",
        ] {
            let denial = ask::<FileWrite>(&set, write(action.clone(), beside, 1));
            assert_eq!(reason(&denial), "outside_directory", "{action:?} {beside}");
        }
    }
    let led = found("/srv/out", "/srv/out/b", None);
    let led = confirm(&set, write(FileWriteAction::Write, "/srv/out/a", 1), &led);
    assert_eq!(reason(&led), "outside_directory");
    // Between two that were granted a file may move, and a directory with what it holds may not.
    let both = rename("/srv/out/a", "/srv/out/b");
    let at = |kind| moved("/srv/out", "/srv/out/a", kind, "/srv/out/b", None);
    assert_eq!(
        reason(&confirm(&set, both.clone(), &at(FileKind::File))),
        "ok"
    );
    let directory = confirm(&set, both, &at(FileKind::Directory));
    assert_eq!(reason(&directory), "outside_directory");
    let away = ask::<FileWrite>(&set, rename("/srv/out/a", "/srv/out/c"));
    assert_eq!(reason(&away), "outside_directory");
}
