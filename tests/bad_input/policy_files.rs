//! Grants and scopes that cannot be read deny, and say where they are wrong.

use std::{fs, time::Duration};

use rumi_tests::{Broker, Home, within};
use serde_json::json;

const COMPONENT: &str = "probe:tool:do";
const NEIGHBOUR: &str = "probe:tool:other";

struct Stage {
    broker: Broker,
    file: String,
}

/// Two components that may read one file.
fn stage() -> Stage {
    let broker = Broker::start(Home::new());
    broker.up(&["probe"]);
    let file = broker.home().file("docs/a.txt", "a");
    let permissions =
        json!({"file_read": {"enabled": true, "directories": [file.parent().unwrap()]}});
    broker.grant(COMPONENT, &permissions);
    broker.grant(NEIGHBOUR, &permissions);
    let file = file.display().to_string();
    let stage = Stage { broker, file };
    assert_eq!(
        (stage.reason(COMPONENT), stage.reason(NEIGHBOUR)),
        (String::new(), String::new())
    );
    stage
}

impl Stage {
    /// Why a component may not read the file; empty where it may.
    fn reason(&self, component: &str) -> String {
        let peer = self.broker.component(component);
        let reply = peer.json("FileRead", &json!({"path": self.file}));
        if reply.status == 200 {
            String::new()
        } else {
            reply.reason()
        }
    }
    /// Ends the test unless both who looks for mistakes find this one.
    #[track_caller]
    fn names(&self, file: &str, says: &str) {
        self.broker
            .packctl(&["doctor"])
            .exits(1)
            .says(&[file, says, "hint: "]);
        let found = self
            .broker
            .packctl(&["grant", "lint", "-o", "json"])
            .exits(1)
            .json();
        let told = |one: &serde_json::Value| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            assert!(!text("remedy").is_empty(), "{one}");
            let place = format!("{} line {} `{}`", text("file"), one["line"], text("field"));
            format!("{place}: {}", text("message"))
        };
        let told: Vec<String> = found.as_array().unwrap().iter().map(told).collect();
        assert!(
            told.iter()
                .any(|one| one.starts_with(file) && one.contains(says)),
            "`{says}` is missing in {told:#?}"
        );
    }
    /// Waits until that is the reason, for no longer than a change may take.
    #[track_caller]
    fn becomes(&self, component: &str, reason: &str) {
        let peer = self.broker.component(component);
        let what = format!("{component} to be answered `{reason}`");
        within(Duration::from_secs(1), &what, || {
            let reply = peer.json("FileRead", &json!({"path": self.file}));
            if reply.status == 200 {
                reason.is_empty()
            } else {
                reply.reason() == reason
            }
        });
    }
}

#[test]
fn a_broken_grant_denies_its_component_alone_and_is_named_with_line_or_field_and_remedy() {
    let stage = stage();
    let path = stage.broker.home().grant_file(COMPONENT);
    let name = format!("grants/{COMPONENT}.json");
    let good = fs::read_to_string(&path).unwrap();
    let directory = stage.broker.home().data("docs").display().to_string();
    let with = |permissions: serde_json::Value| {
        json!({"component_id": COMPONENT, "permissions": permissions}).to_string()
    };
    let read = json!({"enabled": true, "directories": [directory]});
    for (text, says) in [
        (String::new(), "the file is empty"),
        (
            "{\n\"component_id\": \"probe:tool:do\",,\n}".to_owned(),
            "line 2",
        ),
        (good[..good.len() - 1].to_owned(), "line 1"),
        (format!("{good}x"), "line 1"),
        ("[]".to_owned(), "object"),
        (
            good.replacen('{', "{\"comment\": \"hello\", ", 1),
            "`comment`",
        ),
        (
            good.replacen('{', "{\"component_id\": \"probe:tool:do\", ", 1),
            "`component_id`",
        ),
        (good.replacen(COMPONENT, NEIGHBOUR, 1), "`component_id`"),
        (with(json!({"Flying": {}})), "`permissions.Flying`"),
        (
            with(json!({"file_read": {"enabled": true, "directories": [directory], "deep": 1}})),
            "`permissions.file_read.deep`",
        ),
        (
            with(json!({"file_read": {"enabled": true, "directories": directory}})),
            "`permissions.file_read.directories`",
        ),
        (
            with(json!({"file_read": {"enabled": true, "directories": ["docs"]}})),
            "`permissions.file_read.directories[0]`",
        ),
        (
            with(
                json!({"file_read": {"enabled": true, "directories": [format!("{directory}/../..")]}}),
            ),
            "`permissions.file_read.directories[0]`",
        ),
        (
            with(
                json!({"file_read": {"enabled": true, "directories": [directory], "enabled": "yes"}}),
            ),
            "`permissions.file_read.enabled`",
        ),
        (
            with(
                json!({"file_read": {"enabled": true, "directories": [directory], "max_bytes": -1}}),
            ),
            "`permissions.file_read.max_bytes`",
        ),
        (
            with(
                json!({"file_read": read, "network": {"enabled": true, "allowed_ports": [443], "allowed_domains": ["a..b"]}}),
            ),
            "`permissions.network.allowed_domains[0]`",
        ),
        (
            with(
                json!({"file_read": read, "env_read": {"enabled": true, "allowed_keys": ["A B"]}}),
            ),
            "`permissions.env_read.",
        ),
    ] {
        fs::write(&path, &text).unwrap();
        stage.becomes(COMPONENT, "grant_invalid");
        assert_eq!(
            stage.reason(NEIGHBOUR),
            "",
            "the neighbour suffers from {text}"
        );
        stage.names(&name, says);
        // A file that is wrong is not written over by an addition to it.
        stage
            .broker
            .packctl(&["grant", "add", COMPONENT, "env_read", "KEY"])
            .exits(1)
            .says(&[&name]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::write(&path, &good).unwrap();
        stage.becomes(COMPONENT, "");
    }
    stage.broker.verify().ok();
}

#[test]
fn a_broken_scope_denies_its_permission_to_all_and_no_other() {
    let stage = stage();
    let path = stage.broker.home().path().join("scopes/file_read.json");
    let good = fs::read_to_string(&path).unwrap();
    let variable = json!({"key": "ABSENT"});
    let env = |stage: &Stage| {
        stage
            .broker
            .component(COMPONENT)
            .json("EnvRead", &variable)
            .reason()
    };
    let before = env(&stage);
    for (text, says) in [
        (String::new(), "the file is empty"),
        (
            good.replacen("\"version\": \"1.0\",", "\"version\": \"1.0\",,", 1),
            "line 3",
        ),
        (good.replacen("\"version\"", "\"verzion\"", 1), "`version`"),
        (good.replacen("\"forbidden\"", "\"allowed\"", 1), "allowed"),
        (good.replacen("\"1.0\"", "\"9.0\"", 1), "`version`"),
    ] {
        assert_ne!(text, good);
        fs::write(&path, &text).unwrap();
        stage.becomes(COMPONENT, "scope_invalid");
        assert_eq!(stage.reason(NEIGHBOUR), "scope_invalid");
        assert_eq!(
            env(&stage),
            before,
            "another permission suffers from {says}"
        );
        stage.names("scopes/file_read.json", says);
        fs::write(&path, &good).unwrap();
        stage.becomes(COMPONENT, "");
    }
    fs::remove_file(&path).unwrap();
    stage.becomes(COMPONENT, "scope_invalid");
    stage
        .broker
        .packctl(&["doctor"])
        .exits(1)
        .says(&["scopes/file_read.json", "hint: "]);
    fs::write(&path, &good).unwrap();
    stage.becomes(COMPONENT, "");
}

#[test]
fn arguments_of_a_grant_that_cannot_be_are_refused_and_nothing_is_written() {
    let home = Home::new();
    for (arguments, says) in [
        (&["file_read", "docs"][..], "`docs`"),
        (&["file_read", "/tmp/../etc"], "`/tmp/../etc`"),
        (&["env_read", "A B"], "`A B`"),
        (&["network", "exa mple.org"], "`exa mple.org`"),
        (&["network", "example.org:99999"], "99999"),
        (&["terminal", "docs", "--command", "ls"], "`docs`"),
        (&["file_read"], "hint: "),
    ] {
        let command = [&["grant", "add", COMPONENT][..], arguments].concat();
        let ended = home.packctl(&command).says(&[says, "hint: "]);
        assert!(matches!(ended.code, 1 | 2), "{arguments:?}: {ended:?}");
        assert!(!home.grant_file(COMPONENT).exists(), "{arguments:?}");
    }
}
