//! `packctl grant suggest|replay|why|lint|ls`, on a log that the audit crate wrote and on real
//! grant files; no broker runs.

use std::fs;

use rumi_audit::{Decision, Log, LogOptions, Outcome, Peer};
use serde_json::{Value, json};

use crate::binary::Host;

const TOOL: &str = "a:tool:t";
const FILE: &str = "home/grants/a:tool:t.json";

/// One request for the log.
#[derive(Clone, Copy)]
struct Asked<'a> {
    permission: &'a str,
    action: &'a str,
    target: &'a str,
    detail: Option<(&'a str, &'a str)>,
}

fn asked<'a>(permission: &'a str, action: &'a str, target: &'a str) -> Asked<'a> {
    Asked {
        permission,
        action,
        target,
        detail: None,
    }
}

struct Written {
    log: Log,
    runtime: tokio::runtime::Runtime,
}

impl Written {
    fn new(host: &Host) -> Self {
        fs::create_dir_all(host.path("state/keys")).unwrap();
        let options = LogOptions::new(
            host.path("state/audit"),
            host.path("state/keys/audit.key"),
            "rumi/test",
        );
        Self {
            log: Log::open(options).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
        }
    }

    fn decision<'a>(asked: Asked<'a>, policy: &'a str, detail: Option<&'a Value>) -> Decision<'a> {
        Decision {
            pack: "a",
            component: TOOL,
            container: None,
            peer: Peer {
                uid: 200_000,
                pid: 7,
            },
            invocation: Some("call-1"),
            permission: asked.permission,
            action: asked.action,
            target: asked.target.as_bytes(),
            grant: None,
            policy,
            detail,
        }
    }

    fn denied(&self, asked: Asked<'_>, reason: &str) -> String {
        let detail = asked.detail.map(|(name, value)| json!({ name: value }));
        let policy = "00".repeat(32);
        let decision = Self::decision(asked, &policy, detail.as_ref());
        let denied = self.log.record_denial(decision, reason);
        self.runtime.block_on(denied).unwrap().to_string()
    }

    /// Allowed, and then either done or taken back for this reason.
    fn allowed(&self, asked: Asked<'_>, taken_back: Option<&str>) -> String {
        let detail = asked.detail.map(|(name, value)| json!({ name: value }));
        let policy = "00".repeat(32);
        let decision = Decision {
            grant: Some("a:tool:t.json"),
            ..Self::decision(asked, &policy, detail.as_ref())
        };
        self.runtime.block_on(async {
            let recorded = self.log.record(decision, ()).await.unwrap();
            let id = recorded.id().to_string();
            match taken_back {
                None => recorded.finish(Outcome::success(0, 1)).await.unwrap(),
                Some(reason) => {
                    let (denied, ()) = recorded.advance(|()| Err::<(), ()>(())).unwrap_err();
                    denied.record(reason, "what was found").await.unwrap()
                }
            };
            id
        })
    }
}

fn host() -> Host {
    let host = Host::new();
    fs::create_dir_all(host.path("data/work")).unwrap();
    for name in ["a.txt", "b.txt"] {
        host.write(&format!("data/{name}"), name);
    }
    if rustix::process::geteuid().is_root() {
        let owner = Some(rustix::fs::Uid::from_raw(12_345));
        rustix::fs::chown(host.path("data/work"), owner, None).unwrap();
    }
    fs::create_dir_all(host.path("home/docker/packs/a")).unwrap();
    fs::create_dir_all(host.path("home/docker/handlers")).unwrap();
    host.write("home/docker/handlers/shop_query.py", "");
    host.write(
        "home/docker/packs/a/pack.json",
        r#"{"id": "a", "version": "1.0.0", "description": "d", "components": [{"id": "a:tool:t",
           "name": "n", "runner": "python", "entry": "tool.py", "description": "d"}]}"#,
    );
    host
}

fn grant(host: &Host, permissions: &Value) {
    let grant = json!({"component_id": TOOL, "permissions": permissions});
    host.write(FILE, &serde_json::to_string_pretty(&grant).unwrap());
}

#[test]
fn each_denial_is_lifted_and_its_sibling_is_not() {
    let data = host();
    let at = |name: &str| data.text(&format!("data/{name}"));
    let (a, b, new, work) = (at("a.txt"), at("b.txt"), at("new.txt"), at("work"));
    let directory = data.text("data");
    let moved = at("moved.txt");
    let write = |path: &str, action: &str| {
        let words = ["file_write", path, "--action", action];
        words.map(str::to_owned).to_vec()
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    // The denied request, its reason, what then is allowed, and what still is not.
    let cases = [
        (
            asked("file_read", "read", &a),
            "no_grant",
            words(&["file_read", &a]),
            vec![
                words(&["file_read", &b]),
                words(&["file_read", &directory, "--action", "list"]),
            ],
        ),
        (
            asked("file_read", "stat", &new),
            "outside_directory",
            // What is not there yet is still admitted by the policy.
            words(&["file_read", &new]),
            vec![words(&["file_read", &b, "--action", "stat"])],
        ),
        (
            asked("file_read", "list", &directory),
            "outside_directory",
            words(&["file_read", &directory, "--action", "list"]),
            vec![words(&[
                "file_read",
                &format!("{directory}2"),
                "--action",
                "list",
            ])],
        ),
        (
            asked("file_write", "create", &new),
            "no_grant",
            write(&new, "create"),
            vec![write(&b, "write"), write(&moved, "create")],
        ),
        (
            Asked {
                detail: Some(("to", &moved)),
                ..asked("file_write", "rename", &a)
            },
            "outside_directory",
            words(&["file_write", &a, "--action", "rename", "--to", &moved]),
            vec![words(&[
                "file_write",
                &b,
                "--action",
                "rename",
                "--to",
                &moved,
            ])],
        ),
        (
            asked("env_read", "read", "A_KEY"),
            "key_not_allowed",
            words(&["env_read", "A_KEY"]),
            vec![words(&["env_read", "A_KEY2"])],
        ),
        (
            Asked {
                detail: Some(("program", "ls")),
                ..asked("terminal", "run", &work)
            },
            "no_grant",
            words(&["terminal", &work, "--", "ls", "-l"]),
            vec![
                words(&["terminal", &work, "--", "cat"]),
                words(&["terminal", &directory, "--", "ls"]),
            ],
        ),
        (
            asked("network", "fetch", "GET https://api.example.com/v1/x"),
            "no_grant",
            words(&["network", "GET", "https://api.example.com/v1/x"]),
            vec![
                words(&["network", "GET", "https://api.example.com:8443/"]),
                words(&["network", "GET", "https://www.example.com/"]),
                words(&["network", "GET", "http://api.example.com/"]),
            ],
        ),
        (
            asked("network", "tunnel", "db.example.com:8443"),
            "domain_not_allowed",
            words(&["network", "CONNECT", "db.example.com:8443"]),
            vec![
                words(&["network", "CONNECT", "db.example.com:443"]),
                words(&["network", "CONNECT", "example.com:8443"]),
            ],
        ),
        (
            asked("shop_query", "call", "2 bytes abcd"),
            "no_grant",
            words(&["shop_query", "{}"]),
            vec![words(&["shop_queries", "{}"])],
        ),
    ];
    for (denied, reason, then, siblings) in cases {
        let host = host();
        // The paths are of another host's directory, which is there for all cases.
        let written = Written::new(&host);
        let id = written.denied(denied, reason);
        written.denied(denied, reason);
        drop(written);
        let shown = host.expect(&["grant", "suggest"], 0);
        shown
            .prints("@@ -0,0 +1,")
            .prints("denied 2 times")
            .says("nothing was changed");
        assert!(!host.path(FILE).exists(), "{}", denied.target);
        let proposal = host.expect(&["grant", "suggest", "-o", "json"], 0).json();
        assert_eq!(proposal["left"], json!([]), "{proposal:#}");
        let admits = &proposal["changes"][0]["admits"];
        assert!(admits[0]["line"].is_number(), "{proposal:#}");
        assert_eq!(admits[0]["count"], 2);
        host.expect(&["grant", "suggest", "--record", &id, "--apply"], 0)
            .says("applied");
        let check = |words: &[String], code| {
            let mut args = vec!["grant", "check", TOOL];
            args.extend(words.iter().map(String::as_str));
            host.expect(&args, code)
        };
        check(&then, 0);
        for sibling in &siblings {
            check(sibling, 3);
        }
        host.expect(&["grant", "suggest"], 0)
            .says("2 of the denied requests would be allowed by now")
            .says("nothing to suggest");
    }
}

#[test]
fn what_no_grant_should_lift_is_left_with_its_reason() {
    let host = host();
    host.write(
        "home/scopes/file_read.json",
        r#"{"version": "1.0", "description": "d", "default_config": {"exclude": ["*.key"]}, "limits": {"forbidden": ["/etc"]}}"#,
    );
    host.write(
        "home/scopes/network.json",
        r#"{"version": "1.0", "description": "d", "default_config": {}, "limits": {"forbidden_ports": [22]}}"#,
    );
    grant(
        &host,
        &json!({
            "network": {"enabled": true, "allowed_domains": ["granted.example"], "methods": ["GET"]},
            "env_read": {"enabled": false, "allowed_keys": ["OFF"]},
            "terminal": {"enabled": true, "directories": ["/srv/work"], "allowed_commands": ["git log *"]},
        }),
    );
    let written = Written::new(&host);
    let git = Asked {
        detail: Some(("program", "git")),
        ..asked("terminal", "run", "/srv/work")
    };
    for (asked, reason) in [
        (
            asked("file_read", "read", "/etc/shadow"),
            "forbidden_by_scope",
        ),
        (asked("file_read", "read", "/srv/x.key"), "no_grant"),
        (asked("file_read", "list", "/"), "no_grant"),
        (
            asked("network", "tunnel", "granted.example:22"),
            "forbidden_by_scope",
        ),
        (
            asked("network", "fetch", "POST https://granted.example/"),
            "method_not_allowed",
        ),
        (asked("network", "fetch", ""), "bad_request"),
        (asked("env_read", "read", "OTHER"), "disabled"),
        (asked("env_read", "list", "*"), "disabled"),
        (asked("nobodys_handler", "call", "2 bytes ab"), "no_grant"),
    ] {
        written.denied(asked, reason);
    }
    let blocked = asked("network", "tunnel", "granted.example:443");
    written.allowed(blocked, Some("blocked_address"));
    written.allowed(git, Some("command_not_allowed"));
    drop(written);
    let before = host.read(FILE);
    let ran = host.expect(&["grant", "suggest", "--apply"], 0);
    for why in [
        "forbids it to every component",
        "pattern_excluded",
        "`/` is everything",
        "`methods`",
        "no request that could be judged",
        "switched off",
        "its address is never dialled",
        "its arguments, which are not in the log",
        "there is no docker/handlers/nobodys_handler.py",
    ] {
        ran.prints(why);
    }
    ran.says("nothing to suggest");
    assert_eq!(host.read(FILE), before);
}

#[test]
fn a_pack_that_asks_for_everything_gets_a_bounded_and_escaped_proposal() {
    let host = host();
    let written = Written::new(&host);
    let paths: Vec<String> = (0..150).map(|n| format!("/srv/many/{n}")).collect();
    for path in &paths {
        written.denied(asked("file_read", "read", path), "no_grant");
    }
    let steering = "/srv/a\u{1b}[2J\n\"},\u{202e}x";
    written.denied(asked("file_write", "write", steering), "no_grant");
    drop(written);
    let ran = host.expect(&["grant", "suggest"], 0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{ran:?}");
    ran.prints("more than 100 new entries");
    host.expect(
        &["grant", "suggest", "--permission", "file_write", "--apply"],
        0,
    );
    let grant: Value = serde_json::from_str(&host.read(FILE)).unwrap();
    assert_eq!(
        grant["permissions"]["file_write"]["files"],
        json!([steering])
    );
    assert_eq!(grant["permissions"].as_object().unwrap().len(), 1);
}

#[test]
fn a_grant_that_is_not_valid_is_not_touched() {
    let host = host();
    host.write(FILE, "{");
    let written = Written::new(&host);
    written.denied(asked("env_read", "read", "A_KEY"), "grant_invalid");
    drop(written);
    host.expect(&["grant", "suggest", "--apply"], 0)
        .prints("a file of the policy is not valid");
    assert_eq!(host.read(FILE), "{");
}

#[test]
fn a_replay_tells_what_would_change_and_by_its_exit_code_whether() {
    let host = host();
    grant(
        &host,
        &json!({
            "env_read": {"enabled": true, "allowed_keys": ["KEPT", "LOST"]},
            "file_read": {"enabled": true, "directories": ["/srv/docs"]},
        }),
    );
    let written = Written::new(&host);
    for _ in 0..3 {
        written.allowed(asked("env_read", "read", "LOST"), None);
    }
    written.allowed(asked("env_read", "read", "KEPT"), None);
    written.allowed(asked("file_read", "look", "/srv/docs"), None);
    written.allowed(
        asked("file_read", "read", "/srv/docs/big"),
        Some("too_large"),
    );
    let last = written.denied(asked("env_read", "read", "WON"), "key_not_allowed");
    written.denied(asked("env_read", "read", ""), "bad_request");
    drop(written);
    let same = host.text("home/grants/a:tool:t.json");
    host.expect(&["grant", "replay", &same], 0).prints(
        "8 requests: 8 the same, 0 allowed to denied, 0 denied to allowed, 0 cannot be told",
    );
    host.expect(&["grant", "replay", &host.text("home")], 0);
    let other = json!({"component_id": TOOL, "permissions": {
        "env_read": {"enabled": true, "allowed_keys": ["KEPT", "WON"]},
        "file_read": {"enabled": true, "directories": ["/srv/docs"]},
    }});
    host.write("other.json", &other.to_string());
    let path = host.text("other.json");
    host.expect(&["grant", "replay", &path], 6)
        .prints("allowed to denied:")
        .prints("3x  a:tool:t  env_read:read  `LOST`  key_not_allowed")
        .prints("denied to allowed:")
        .prints("8 requests: 4 the same, 3 allowed to denied, 1 denied to allowed");
    let report = host
        .expect(&["grant", "replay", &path, "-o", "json"], 6)
        .json();
    assert_eq!(report["changes"][1]["last_record"], json!(last));
    // A directory of nothing: all that was allowed would be denied.
    fs::create_dir_all(host.path("next/grants")).unwrap();
    host.expect(&["grant", "replay", &host.text("next")], 6)
        .prints("5 allowed to denied");
    for (args, code, says) in [
        (vec!["grant", "replay", "/nowhere"], 1, "/nowhere"),
        (vec!["grant", "replay"], 2, "missing"),
        (
            vec!["grant", "replay", &path, "--component", "b:tool:x"],
            2,
            "is the grant of",
        ),
        (
            vec!["grant", "replay", &path, "--since", "soon"],
            2,
            "`soon`",
        ),
    ] {
        host.expect(&args, code).says(says);
    }
    host.write("nonsense.json", "[1]");
    host.expect(&["grant", "replay", &host.text("nonsense.json")], 1)
        .says("is no grant");
    host.expect(&["grant", "replay", &host.text("data")], 4)
        .says("holds no grants/ directory");
}

#[test]
fn why_names_the_line_that_decided_and_what_would_allow_it() {
    let host = host();
    grant(
        &host,
        &json!({
            "file_read": {"enabled": true, "directories": ["/srv/docs"]},
            "network": {"enabled": true, "allowed_domains": ["api.example.com"], "allowed_ports": [443]},
        }),
    );
    let line = |text: &str| {
        let lines = host.read(FILE);
        lines.lines().position(|line| line.contains(text)).unwrap() + 1
    };
    let written = Written::new(&host);
    let allowed = written.allowed(asked("file_read", "read", "/srv/docs/a"), None);
    let denied = written.denied(
        asked("file_read", "read", "/srv/other/a"),
        "outside_directory",
    );
    let port = written.denied(
        asked("network", "tunnel", "api.example.com:8443"),
        "port_not_allowed",
    );
    let found = written.allowed(
        asked("network", "tunnel", "api.example.com:443"),
        Some("sni_mismatch"),
    );
    drop(written);
    host.expect(&["grant", "why", &allowed], 0)
        .prints("a:tool:t (uid 200000, pid 7, call call-1)")
        .prints("decided   allow")
        .prints(&format!(
            "line {}: `/srv/docs` of file_read.directories decided",
            line("/srv/docs")
        ))
        .prints("is not what the files hold now");
    host.expect(&["grant", "why", &denied], 0)
        .prints("decided   deny: outside_directory")
        .prints("`/srv/docs` of file_read.directories comes nearest")
        .prints("today     denied: outside_directory")
        .prints("+        \"/srv/other/a\"")
        .says(&format!("packctl grant suggest --record {denied} --apply"));
    host.expect(&["grant", "why", &port], 0)
        .prints("`api.example.com` of network.allowed_domains comes nearest")
        .prints("+        \"api.example.com:8443\"");
    let found = host
        .expect(&["grant", "why", &found, "-o", "json"], 0)
        .json();
    assert_eq!(found["reason"], "sni_mismatch");
    assert_eq!(found["because"], "what was found");
    assert_eq!(found["would_allow"]["changes"], json!([]));
    assert!(
        found["would_allow"]["left"][0]["why"]
            .as_str()
            .unwrap()
            .contains("`tcp`")
    );
    host.expect(&["grant", "why", "0000000000000000"], 4)
        .says("no decision is recorded");
    host.expect(&["grant", "why", "x"], 2);
}

#[test]
fn lint_tells_what_is_too_wide_unused_expired_and_shadowed() {
    let host = host();
    host.write(
        "home/scopes/file_write.json",
        r#"{"version": "1.0", "description": "d", "default_config": {}, "limits": {"forbidden": ["/srv/secret"]}}"#,
    );
    let docs = host.text("data");
    let inner = host.text("data/work");
    let within = format!("{inner}/x");
    grant(
        &host,
        &json!({
            "file_read": {"enabled": true, "directories": ["/", docs, inner], "files": [within], "passthrough": true},
            "file_write": {"enabled": true, "directories": ["/srv/secret/here"]},
            "env_read": {"enabled": true, "allowed_keys": ["USED"]},
            "network": {"enabled": true, "allowed_domains": ["*.com", "a.com", "b.org:443", "b.org"],
                        "expires_at": "2020-01-01T00:00:00Z"},
            "terminal": {"enabled": true, "directories": [inner], "allowed_commands": ["bash", "ls", "ls -l"]},
        }),
    );
    let written = Written::new(&host);
    written.allowed(asked("env_read", "read", "USED"), None);
    drop(written);
    let lint = |more: &[&str]| {
        let mut args = vec!["grant", "lint", "-o", "json"];
        args.extend(more);
        let findings = host.expect(&args, 0).json();
        let of = |finding: &Value| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            (text("kind"), text("message"))
        };
        let list: Vec<_> = findings.as_array().unwrap().iter().map(of).collect();
        list
    };
    let found = lint(&[]);
    let has = |found: &[(String, String)], kind: &str, part: &str| {
        let fits = |(k, m): &&(String, String)| k == kind && m.contains(part);
        assert!(
            found.iter().any(|one| fits(&one)),
            "{kind} {part}: {found:#?}"
        );
    };
    for (kind, part) in [
        ("too_wide", "everything on this host"),
        ("too_wide", "`*.com` covers a whole top-level domain"),
        ("too_wide", "`bash` can run other programs"),
        ("too_wide", "`passthrough`"),
        ("expired", "`network` has expired at 2020"),
        ("shadowed", "of `file_read` adds nothing to `/`"),
        ("shadowed", "`a.com` of `network` adds nothing to `*.com`"),
        (
            "shadowed",
            "`b.org:443` of `network` adds nothing to `b.org`",
        ),
        ("shadowed", "`ls -l` of `terminal` adds nothing to `ls`"),
        ("forbidden", "`/srv/secret/here` of `file_write`"),
    ] {
        has(&found, kind, part);
    }
    let unused = |found: &[(String, String)]| {
        let kind = |(kind, _): &&(String, String)| kind == "never_used";
        found.iter().filter(kind).count()
    };
    // The grant is younger than that.
    assert_eq!(unused(&found), 0, "{found:#?}");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let written = Written::new(&host);
    written.allowed(asked("env_read", "read", "USED"), None);
    drop(written);
    let found = lint(&["--unused", "1s"]);
    assert_eq!(unused(&found), 4, "{found:#?}");
    has(&found, "never_used", "`network` was not used");
    host.expect(&["grant", "lint", "--unused", "long"], 2)
        .says("`long`");
}

#[test]
fn ls_counts_uses_and_is_a_list_without_a_log_too() {
    let host = host();
    grant(
        &host,
        &json!({
            "env_read": {"enabled": true, "allowed_keys": ["A"]},
            "file_read": {"enabled": true, "directories": ["/srv/docs"]},
        }),
    );
    let rows = host.expect(&["grant", "ls", "-o", "json"], 0).json();
    assert!(rows[0].get("uses").is_none(), "{rows:#}");
    let written = Written::new(&host);
    written.allowed(asked("env_read", "read", "A"), None);
    written.allowed(asked("env_read", "read", "A"), None);
    written.allowed(
        asked("file_read", "read", "/srv/docs/pipe"),
        Some("not_a_file"),
    );
    written.denied(
        asked("file_read", "read", "/srv/other"),
        "outside_directory",
    );
    drop(written);
    let rows = host.expect(&["grant", "ls", "-o", "json"], 0).json();
    let row = |permission: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter()
            .find(|row| row["permission"] == permission)
            .unwrap()
            .clone()
    };
    assert_eq!(row("env_read")["uses"], 2);
    assert!(row("env_read")["last_use"].as_str().unwrap().ends_with('Z'));
    assert_eq!(row("file_read")["uses"], 0);
    assert!(row("file_read").get("last_use").is_none());
    host.expect(&["grant", "ls"], 0).prints("LAST USE");
    for verb in ["ls", "lint"] {
        host.expect(&["grant", verb, "--dir", "/nowhere"], 4)
            .says("no audit log in `/nowhere`");
    }
}

#[test]
fn a_single_file_is_granted_and_taken_away() {
    let host = host();
    let (a, b) = (host.text("data/a.txt"), host.text("data/b.txt"));
    host.expect(&["grant", "add", TOOL, "file_read", "--file", &a], 0)
        .prints("\"files\": [");
    host.expect(&["grant", "check", TOOL, "file_read", &a], 0);
    host.expect(&["grant", "check", TOOL, "file_read", &b], 3);
    host.expect(&["grant", "lint"], 0).says("no mistakes found");
    host.expect(&["grant", "rm", TOOL, "file_read", "--file", &a], 0);
    host.expect(&["grant", "check", TOOL, "file_read", &a], 3);
    for args in [
        ["grant", "add", TOOL, "env_read", "--file", "/x"],
        ["grant", "add", TOOL, "file_read", "--file", "/"],
        ["grant", "add", TOOL, "file_read", "--file", "x"],
        ["grant", "add", TOOL, "shop_query", "--file", "/x"],
    ] {
        host.expect(&args, 2);
    }
    host.expect(
        &["grant", "add", TOOL, "file_read", "--file", "/nowhere/x"],
        0,
    )
    .says("the directory of `/nowhere/x` does not exist");
}
