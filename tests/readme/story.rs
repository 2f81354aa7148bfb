//! The marked blocks, run for real.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use rumi_tests::{Authority, NameServer, Origin, own_address};
use serde_json::{Value, json};

use crate::{blocks, shell::Shell};

/// What the README writes outside of its home.
const TEXTS: &str = "/tmp/rumi-texts";
const LOG: &str = "/tmp/rumi-broker.log";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A checkout as a user has it, as far as the commands need it, with the programs of this build.
fn checkout(home: &Path) {
    let repository = repository();
    for directory in ["docker/packs", "docker/sandbox", "grants", "target"] {
        fs::create_dir_all(home.join(directory)).unwrap();
    }
    for file in ["docker/config.json", "docker/seccomp.json"] {
        fs::copy(repository.join(file), home.join(file)).unwrap();
    }
    let copied = Command::new("cp")
        .arg("-r")
        .arg(repository.join("scopes"))
        .arg(home)
        .status()
        .unwrap();
    assert!(copied.success());
    let test = env::current_exe().unwrap();
    let programs = test.ancestors().nth(2).unwrap();
    for name in ["rumi-broker", "packctl", "rumi-guest"] {
        assert!(
            programs.join(name).exists(),
            "there is no {name} in {}; run: make test",
            programs.display()
        );
    }
    symlink(programs, home.join("target/release")).unwrap();
}

/// What stands in for the internet: the README fetches a page of example.com.
struct Internet {
    _names: NameServer,
    _origin: Origin,
    bundle: PathBuf,
}

impl Internet {
    fn new(root: &Path, home: &Path) -> Self {
        let (authority, address) = (Authority::new(), own_address().to_string());
        let names = NameServer::start(&[("example.com", &[&address])]);
        let (bundle, pages) = (root.join("bundle.pem"), root.join("pages"));
        authority.write_bundle(&bundle);
        fs::create_dir(&pages).unwrap();
        let page = "<!doctype html><title>Example Domain</title>";
        fs::write(pages.join("index.html"), page).unwrap();
        let file = home.join("docker/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["network"]["resolvers"] = json!([names.address()]);
        config["network"]["allowed_ranges"] = json!([format!("{address}/32")]);
        fs::write(file, config.to_string()).unwrap();
        Self {
            _origin: Origin::start(own_address(), &authority, &["example.com"], &pages),
            _names: names,
            bundle,
        }
    }
}

#[test]
fn a_new_user_gets_what_the_readme_says() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("rumi");
    checkout(&home);
    let internet = Internet::new(root.path(), &home);
    let (state, run) = (root.path().join("state"), root.path().join("run"));
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks = blocks::find(&text);
    let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "start",
            "own pack",
            "denied",
            "granted",
            "account",
            "one file",
            "languages",
            "many",
            "ad-hoc",
            "looked through",
            "not yours",
            "reached",
            "check",
            "end"
        ]
    );
    let mut shell = Shell::new(&home, &state, &run);
    let bundle = internet.bundle.display();
    shell.run(&format!("export SSL_CERT_FILE={bundle} PIP_CERT={bundle}"));
    let mut instance = String::new();
    for block in &blocks {
        let (exit, shown) = shell.run(&block.commands);
        assert_eq!(exit, block.exit, "{}:\n{shown}", block.name);
        let missing = blocks::missing(&block.expected, &shown);
        assert_eq!(missing, None, "{}:\n{shown}", block.name);
        if block.name == "own pack" {
            (_, instance) = shell.run(
                "docker inspect --format '{{index .Config.Labels \"rumi.instance\"}}' \
                 $(packctl ps words -o jsonl | sed 's/.*\"container\":\"\\([0-9a-f]*\\)\".*/\\1/')",
            );
        }
    }
    assert_eq!(instance.len(), 12, "{instance}");
    let (_, left) = shell.run(&format!(
        "wait; docker ps -aq --filter label=rumi.instance={instance}"
    ));
    assert_eq!(left, "", "containers are left");
    shell.run(&format!(
        "docker image rm -f $(docker image ls -q --filter label=rumi.instance={instance})"
    ));
    fs::remove_dir_all(TEXTS).unwrap();
    fs::remove_file(LOG).unwrap();
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let mut links = 0;
    for rest in text.split("](").skip(1) {
        let link = rest.split_once(')').unwrap().0;
        if !link.starts_with("https://") {
            links += 1;
            assert!(repository().join(link).exists(), "there is no {link}");
        }
    }
    assert!(links > 5);
}

#[test]
fn every_reason_code_is_explained() {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    for reason in rumi_policy::Reason::ALL {
        assert!(
            text.contains(&format!("`{reason}`")),
            "the README does not name {reason}"
        );
    }
}
