//! Third-party packages of packs: wheels or nothing.

use std::{fs, path::Path, process::Command};

use rumi_tests::{Broker, Home, Output};
use serde_json::json;

/// A package that exists as source only, and writes a file where its code is run.
fn source_package(directory: &Path, proof: &Path) {
    let source = directory.join("rumi_sourced-1.0");
    fs::create_dir_all(&source).unwrap();
    let setup = format!(
        "open({:?}, 'w')\nfrom setuptools import setup\nsetup(name='rumi-sourced', version='1.0')\n",
        proof.display().to_string()
    );
    fs::write(source.join("setup.py"), setup).unwrap();
    let info = "Metadata-Version: 2.1\nName: rumi-sourced\nVersion: 1.0\n";
    fs::write(source.join("PKG-INFO"), info).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["czf", "rumi_sourced-1.0.tar.gz", "rumi_sourced-1.0"]);
    Output::of(tar.current_dir(directory)).ok();
}

#[test]
fn what_exists_only_as_source_or_not_at_all_is_refused_and_runs_nothing() {
    let home = Home::new();
    let packages = home.data("packages");
    let proof = home.base().join("setup-was-run");
    source_package(&packages, &proof);
    let found = packages.display().to_string();
    let broker = Broker::start_with(home, &[("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", &found)]);
    let home = broker.home();
    for (id, requirements) in [
        ("sourced", json!("requirements.txt")),
        ("absent", json!("requirements.txt")),
        ("listed", json!(["rumi-sourced==1.0"])),
    ] {
        home.write_pack(id, "def run(args):\n    return 1\n");
        let mut manifest = Home::manifest(id);
        manifest["requirements"] = requirements;
        home.write_manifest(id, &manifest);
        let line = if id == "absent" {
            "rumi-absent==1.0\n"
        } else {
            "rumi-sourced==1.0\n"
        };
        home.write_file(&format!("docker/packs/{id}/requirements.txt"), line);
        let name = line.trim_end();
        let ended = broker.packctl(&["up", id, "--yes"]).exits(1);
        ended.says(&[name, "exist as wheels", "hint: "]);
    }
    assert!(!proof.exists(), "code of a package was run on the host");
    assert!(broker.containers().is_empty());
}

#[test]
fn lines_that_are_no_requirements_are_refused_by_number() {
    let broker = Broker::start(Home::new());
    let home = broker.home();
    home.write_pack("lines", "def run(args):\n    return 1\n");
    let mut manifest = Home::manifest("lines");
    manifest["requirements"] = json!("requirements.txt");
    home.write_manifest("lines", &manifest);
    for line in [
        "--index-url https://packages.example.org/simple",
        "-r other.txt",
        "-e .",
        "git+https://example.org/x.git",
        "./local.whl",
        "six @ https://example.org/six.whl",
    ] {
        let text = format!("# packages\n{line}\n");
        home.write_file("docker/packs/lines/requirements.txt", &text);
        let ended = broker.packctl(&["build", "lines"]).exits(1);
        ended.says(&["packs/lines/requirements.txt", "line 2", "hint: "]);
    }
}

#[test]
fn a_pack_with_packages_of_its_own_works_from_source_to_answer() {
    let home = Home::new();
    home.take_pack("docker/packs/notes");
    let broker = Broker::start(home);
    broker.up(&["notes"]);
    let markdown = "---\ntitle: A & B\ntags: [one, two]\n---\n# Head\n\n| a |\n|---|\n| *b* |\n";
    let called = broker.call("notes:tool:render", &json!({"markdown": markdown}));
    let data = called.data();
    assert_eq!(
        (&data["title"], &data["tags"]),
        (&json!("A & B"), &json!(["one", "two"]))
    );
    assert_eq!(
        data["libyaml"], true,
        "the package's C extension did not come along"
    );
    let page = data["page"].as_str().unwrap();
    for part in [
        "<title>A &amp; B</title>",
        "<h1>Head</h1>",
        "<td><em>b</em></td>",
    ] {
        assert!(page.contains(part), "{page}");
    }
    // Files by way of the broker, from one granted directory to another.
    let note = broker.home().file("notes/todo.md", "# To do\n");
    let page = broker.home().data("pages").join("todo.html");
    broker.grant(
        "notes:tool:render",
        &json!({
            "file_read": {"enabled": true, "directories": [note.parent().unwrap()]},
            "file_write": {"enabled": true, "directories": [page.parent().unwrap()]},
        }),
    );
    let called = broker.call("notes:tool:render", &json!({"note": note, "page": page}));
    assert_eq!(called.data()["title"], "To do");
    assert!(fs::read_to_string(page).unwrap().contains("<h1>To do</h1>"));
}
