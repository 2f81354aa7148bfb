//! One broker for the whole suite, looked after by every test that uses it.

use std::{ops::Deref, path::PathBuf, sync::OnceLock};

use rumi_tests::{Broker, Home, Peer};
use serde_json::json;

/// A value that must never be seen anywhere but by the component that was granted it.
pub const SECRET: &str = "canary-7f3d1c5b9e0a4826";
/// The same, from the broker's own environment.
pub const SECRET_OF_ENVIRONMENT: &str = "canary-e18b64d02c7f95a3";

/// Components without any code that matters: tests speak through their sockets.
const SUSPECTS: [&str; 7] = [
    "files", "swapped", "broad", "policy", "crowd", "silent", "channels",
];

/// The broker, with the packs `probe`, `misbehaving` and `suspects`.
#[derive(Debug)]
pub struct Yard(&'static Broker);

impl Deref for Yard {
    type Target = Broker;
    fn deref(&self) -> &Broker {
        self.0
    }
}

/// Whatever a test did: the broker is the same process and none of its threads panicked.
/// The last test to end looks last, so that this holds for the whole suite.
impl Drop for Yard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let status = self.status().expect("the broker answers");
        assert_eq!(status.pid, self.pid(), "another process answers");
        let log = self.log();
        let panics: Vec<_> = log.lines().filter(|l| l.contains("panicked")).collect();
        assert_eq!(panics, [""; 0], "the broker panicked");
    }
}

/// The broker of the suite.
#[must_use]
pub fn yard() -> Yard {
    static YARD: OnceLock<Broker> = OnceLock::new();
    Yard(YARD.get_or_init(start))
}

fn start() -> Broker {
    let home = Home::new();
    home.take_pack("docker/packs/misbehaving");
    // Who speaks slowly has to live longer than the broker listens.
    let shipped = std::fs::read(home.pack("misbehaving").join("pack.json")).expect("the pack");
    let mut manifest: serde_json::Value = serde_json::from_slice(&shipped).expect("JSON");
    manifest["components"][0]["timeout_ms"] = json!(20_000);
    home.write_manifest("misbehaving", &manifest);
    home.write_file(
        "docker/packs/suspects/tool.py",
        "def run(args):\n    return args\n",
    );
    let components: Vec<_> = SUSPECTS
        .iter()
        .map(|name| {
            json!({
                "id": format!("suspects:tool:{name}"), "name": name, "runner": "python",
                "entry": "tool.py", "description": "A name to act under.",
            })
        })
        .collect();
    let mut manifest = Home::manifest("suspects");
    manifest["components"] = json!(components);
    home.write_manifest("suspects", &manifest);
    home.data("granted");
    home.data("outside");
    let granted = json!({"enabled": true, "directories": [home.base().join("data/granted")]});
    home.grant(
        "suspects:tool:files",
        &json!({"file_read": granted, "file_write": granted}),
    );
    let secrets = home.state().join("secrets.json");
    write_private(&secrets, &json!({"API_TOKEN": SECRET}).to_string());
    let broker = Broker::start_with(home, &[("API_TOKEN_2", SECRET_OF_ENVIRONMENT)]);
    broker.up(&["probe", "misbehaving", "suspects"]);
    broker
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
    std::fs::write(path, text).expect("write");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// Directories of one test: one that is granted to `suspects:tool:files`, and one that is not.
#[derive(Debug)]
pub struct Site {
    /// Who asks.
    pub peer: Peer,
    /// Granted for reading and writing.
    pub granted: PathBuf,
    /// Not granted; holds `secret` with the content `outside`.
    pub outside: PathBuf,
    /// The broker.
    pub yard: Yard,
}

/// Makes the directories of a test.
#[must_use]
pub fn site(name: &str) -> Site {
    let yard = yard();
    let home = yard.home();
    let granted = home.data(&format!("granted/{name}"));
    let outside = home.data(&format!("outside/{name}"));
    home.file(&format!("outside/{name}/secret"), "outside");
    Site {
        peer: yard.component("suspects:tool:files"),
        granted,
        outside,
        yard,
    }
}

impl Site {
    /// Writes a file of the granted directory and returns its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.granted.join(name);
        self.yard.home().file(
            path.strip_prefix(self.yard.home().base().join("data"))
                .expect("below")
                .to_str()
                .expect("text"),
            content,
        )
    }
    /// What lies outside, which must stay as it was.
    #[track_caller]
    pub fn outside_is_untouched(&self) {
        let mut names: Vec<_> = std::fs::read_dir(&self.outside)
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["secret"]);
        assert_eq!(
            std::fs::read_to_string(self.outside.join("secret")).expect("read"),
            "outside"
        );
    }
}

/// Says that a test has ended to the thread that races it, also where it ends by a failure.
#[derive(Debug)]
pub struct Until<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
