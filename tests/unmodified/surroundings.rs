//! What a script sees of where it runs.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rumi_tests::own_address;
use serde_json::{Value, json};

use crate::world::{AT_ONCE, MARKER, Ran, World};

/// What the host has that nobody may see, for as long as it lives.
pub(crate) struct Planted {
    _files: Vec<tempfile::NamedTempFile>,
    process: Child,
}

impl Planted {
    pub(crate) fn new() -> Self {
        let home = std::env::var("HOME").unwrap();
        let files = ["/tmp", &home, "/etc"].map(|directory| {
            let mut builder = tempfile::Builder::new();
            let mut file = builder.prefix(MARKER).tempfile_in(directory).unwrap();
            file.write_all(MARKER.as_bytes()).unwrap();
            file
        });
        // It ends with the pipe, which ends with this process.
        let mut command = Command::new("sh");
        command
            .args(["-c", "read line", MARKER])
            .stdin(Stdio::piped());
        Self {
            _files: files.into(),
            process: command.env("SHOP_TOKEN", MARKER).spawn().unwrap(),
        }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// What the script is told to look for. Nothing of it was granted to anybody.
pub(crate) fn look() -> Value {
    json!({
        "marker": MARKER,
        "names": ["other.example.test", "absent.example.test", "example.com", "host.docker.internal"],
        "places": [
            [own_address(), 443], [own_address(), 22], ["127.0.0.1", 22], ["172.17.0.1", 2375],
            ["169.254.169.254", 80], ["192.0.2.1", 443], ["::1", 22], ["2001:db8::1", 443],
        ],
    })
}

/// Runs a script that looks around, and ends the test unless it saw nothing of the host.
#[track_caller]
pub(crate) fn sees_nothing_else(world: &World, component: &str, script: &str, args: &Value) -> Ran {
    let planted = Planted::new();
    let ran = world.run_and_look(component, script, args, &look());
    let seen = &ran.surroundings;
    assert_eq!(seen["interfaces"], json!(["lo"]), "{seen:#}");
    assert_eq!(seen["found"], json!([]), "files of the host");
    let text = seen.to_string();
    assert!(!text.contains(MARKER), "{seen:#}");
    let processes = seen["processes"].as_array().unwrap();
    assert!(
        processes[0].as_str().unwrap().contains("rumi/guest init"),
        "{processes:#?}"
    );
    for process in processes.iter().map(|process| process.as_str().unwrap()) {
        // Other components of the pack are seen, and nothing that the host runs.
        let host = [
            "rumi-broker",
            "dockerd",
            "containerd",
            "postgres",
            "unmodified-",
        ];
        assert!(
            !host.iter().any(|name| process.contains(name)),
            "`{process}` is the host's: {processes:#?}"
        );
    }
    for what in ["names", "places"] {
        for (name, tried) in seen[what].as_object().unwrap() {
            let outcome = tried["outcome"].as_str();
            assert!(
                outcome.is_some_and(|text| text.to_lowercase().contains("error")),
                "{name}: {tried}"
            );
            let took = Duration::from_secs_f64(tried["seconds"].as_f64().unwrap());
            assert!(took < AT_ONCE, "{name}: {tried}");
        }
    }
    let asked = world.names.asked();
    for name in ["absent.example.test", "example.com"] {
        assert!(
            !asked.contains(&name.to_owned()),
            "`{name}` was looked up outside: {asked:?}"
        );
    }
    drop(planted);
    ran
}
