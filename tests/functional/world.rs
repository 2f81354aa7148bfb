//! One broker for all tests here that change no policy, and what its components were granted.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::OnceLock};

use rumi_tests::{Broker, Home, NameServer, Peer, WebServer};
use serde_json::{Value, json};

/// The broker and what it reaches.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) web: WebServer,
    pub(crate) names: NameServer,
}

/// Components of the pack `asker`; each was granted one thing.
const COMPONENTS: [&str; 13] = [
    "reads", "limited", "writes", "values", "commands", "network", "none", "disabled", "sdk",
    "narrow", "streams", "leaving", "globs",
];

impl World {
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.broker.home().base().join("data").join(name)
    }

    /// The same as text, for a message.
    pub(crate) fn at(&self, name: &str) -> String {
        self.data(name).to_str().unwrap().to_owned()
    }

    /// A component of the pack `asker`.
    pub(crate) fn peer(&self, name: &str) -> Peer {
        self.broker.as_component(&component(name))
    }
}

pub(crate) fn component(name: &str) -> String {
    format!("asker:tool:{name}")
}

pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(make)
}

fn make() -> World {
    let home = Home::new();
    let web = WebServer::start("127.0.0.1");
    let names = NameServer::start(&[
        ("granted.test", &["127.0.0.1"]),
        ("deep.wild.test", &["127.0.0.1"]),
        ("here.test", &["127.0.0.9"]),
        ("intranet.test", &["10.1.2.3"]),
        ("metadata.test", &["169.254.169.254"]),
        ("mapped.test", &["::ffff:10.1.2.3"]),
        ("mixed.test", &["127.0.0.1", "192.168.1.1"]),
        ("refused.test", &["127.0.0.1"]),
    ]);
    home.configure(|config| {
        config["network"]["allowed_ranges"] = json!(["127.0.0.1/32"]);
        config["network"]["resolvers"] = json!([names.address()]);
        config["network"]["max_response"] = json!("1m");
        config["terminal"]["max_output"] = json!("64m");
    });
    pack(&home);
    secrets(&home, 0o600);
    grants(&home, web.port());
    let environment = [
        ("SHOP_ENVIRONMENT", "from the environment"),
        ("SHOP_BOTH", "no"),
    ];
    let broker = Broker::start_with(home, &environment);
    broker.up(&["asker"]);
    World { broker, web, names }
}

fn pack(home: &Home) {
    let source = fs::read_to_string(rumi_tests::repository().join("tests/packs/probe/probe.py"));
    home.write_pack("asker", &source.unwrap());
    let mut manifest = Home::manifest("asker");
    let one = manifest["components"][0].clone();
    let components = COMPONENTS.map(|name| {
        let mut component = one.clone();
        component["id"] = json!(self::component(name));
        component
    });
    manifest["components"] = json!(components);
    home.write_manifest("asker", &manifest);
}

/// Writes the file of secrets.
pub(crate) fn secrets(home: &Home, mode: u32) {
    fs::create_dir_all(home.state()).unwrap();
    let path = home.state().join("secrets.json");
    let values = json!({"SHOP_SECRET": "from the secrets", "SHOP_BOTH": "secret wins"});
    fs::write(&path, values.to_string()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn grants(home: &Home, port: u16) {
    let (reads, writes) = (home.data("reads"), home.data("writes"));
    let (commands, rooted) = (home.data("commands"), home.data("commands/rooted"));
    std::os::unix::fs::chown(rooted, Some(0), Some(0)).unwrap();
    let give = |name: &str, permissions: Value| home.grant(&component(name), &permissions);
    give(
        "reads",
        json!({"file_read": {"enabled": true, "directories": [reads], "exclude": ["drafts"]}}),
    );
    give(
        "limited",
        json!({"file_read": {"enabled": true, "directories": [reads], "max_bytes": 100}}),
    );
    give(
        "writes",
        json!({"file_write": {"enabled": true, "directories": [writes]}}),
    );
    let keys = [
        "SHOP_SECRET",
        "SHOP_ENVIRONMENT",
        "SHOP_BOTH",
        "SHOP_NOWHERE",
    ];
    give(
        "values",
        json!({"env_read": {"enabled": true, "allowed_keys": keys}}),
    );
    give(
        "commands",
        json!({"terminal": {
            "enabled": true, "directories": [commands], "timeout_ms": 8000, "max_output_bytes": 65536,
            "allowed_commands": ["cat", "ls", "id", "/usr/bin/python3", "sleep", "pwd"],
        }}),
    );
    let streams = home.data("streams");
    give(
        "streams",
        json!({"terminal": {
            "enabled": true, "directories": [streams], "max_output_bytes": 64 << 20, "timeout_ms": 300_000,
            "allowed_commands": ["cat", "python3"],
            "env": {"PLAIN": "text", "TOKEN": "Bearer ${secret:SHOP_SECRET}"},
        }}),
    );
    give(
        "leaving",
        json!({"terminal": {
            "enabled": true, "directories": [streams], "allowed_commands": ["sleep", "python3"],
        }}),
    );
    give(
        "globs",
        json!({"terminal": {
            "enabled": true, "directories": [streams, commands], "allowed_commands": ["ls -l"],
        }}),
    );
    give(
        "network",
        json!({"network": {
            "enabled": true, "allowed_ports": [port], "timeout_ms": 3000,
            "allowed_domains": [
                "granted.test", "*.wild.test", "here.test", "intranet.test", "metadata.test",
                "mapped.test", "mixed.test", "unknown.test", "127.0.0.1",
            ],
        }}),
    );
    give(
        "disabled",
        json!({
            "file_read": {"enabled": false, "directories": [reads]},
            "file_write": {"enabled": false, "directories": [writes]},
            "env_read": {"enabled": false, "allowed_keys": keys},
            "terminal": {"enabled": false, "directories": [commands], "allowed_commands": ["ls"]},
            "network": {"enabled": false, "allowed_domains": ["granted.test"]},
        }),
    );
    give(
        "narrow",
        json!({
            "file_read": {"enabled": true, "directories": [reads], "patterns": ["notes/*.md"]},
            "file_write": {"enabled": true, "directories": [writes], "max_bytes": 10},
            "env_read": {"enabled": true, "allowed_keys": keys, "max_bytes": 20},
            "terminal": {"enabled": true, "directories": [commands], "allowed_commands": []},
            "network": {
                "enabled": true, "allowed_domains": ["granted.test"], "allowed_ports": [port],
                "methods": ["GET"], "max_response_bytes": 3,
            },
        }),
    );
    give(
        "sdk",
        json!({
            "file_read": {"enabled": true, "directories": [reads, writes]},
            "file_write": {"enabled": true, "directories": [writes]},
            "env_read": {"enabled": true, "allowed_keys": keys},
            "terminal": {"enabled": true, "directories": [commands], "allowed_commands": ["cat"]},
            "network": {"enabled": true, "allowed_ports": [port], "allowed_domains": ["granted.test"]},
        }),
    );
}
