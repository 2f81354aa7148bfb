//! A pack is approved as it is: nothing of it is built or started before, nor after it changed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use rumi_tests::{Broker, Home, Output};
use serde_json::{Value, json};

const TOOL: &str = "words:tool:run";
const GOOD: &str = "def run(args):\n    return 'as approved'\n";

/// The pack as it is approved.
fn write(home: &Home) {
    home.write_pack("words", GOOD);
    home.write_file("docker/packs/words/lib/data.txt", "text\n");
    let mut manifest = Home::manifest("words");
    manifest["requests"] = json!({TOOL: {"file_read": {"directories": ["/srv/texts"]}}});
    home.write_manifest("words", &manifest);
}

/// Lies there again as it was approved, whatever was done to it.
fn write_again(home: &Home) {
    fs::remove_dir_all(home.pack("words")).unwrap();
    write(home);
}

fn change_manifest(home: &Home, change: impl FnOnce(&mut Value)) {
    let file = home.pack("words").join("pack.json");
    let mut manifest = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut manifest);
    home.write_manifest("words", &manifest);
}

/// What `up` says of a pack that is not approved; the last line is the command that approves it.
#[track_caller]
fn refused(broker: &Broker) -> (Output, Vec<String>) {
    let up = broker.packctl(&["up", "words"]).exits(3);
    let last = up.stderr.lines().last().unwrap_or_default();
    let command = last.strip_prefix("hint: packctl ");
    let command = command.unwrap_or_else(|| panic!("no command at the end of\n{}", up.stderr));
    let words = command.split(' ').map(str::to_owned).collect();
    (up, words)
}

#[track_caller]
fn approve(broker: &Broker, command: &[String]) -> Output {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    broker.must(&words)
}

fn answer(broker: &Broker) -> Value {
    broker.call(TOOL, &json!({})).data().clone()
}

#[test]
fn an_approval_is_taken_back_and_what_runs_goes_on() {
    let home = Home::new();
    write(&home);
    let broker = Broker::start(home);
    broker
        .packctl(&["disapprove", "words"])
        .exits(4)
        .says(&["`words` is not approved"]);
    broker.packctl(&["disapprove"]).exits(2);
    broker.packctl(&["disapprove", "../words"]).exits(2);
    broker.must(&["approve", "words"]);
    broker.must(&["up", "words"]);
    let taken = broker.must(&["disapprove", "words", "-o", "json"]).json();
    assert_eq!(taken[0]["runs"], true, "{taken}");
    let record = taken[0]["record"].as_str().unwrap();
    let [record] = broker.records_of(record).try_into().expect("one record");
    assert_eq!(record["action"], "disapprove", "{record}");
    assert_eq!(answer(&broker), "as approved");
    broker
        .packctl(&["doctor"])
        .says(&["`words` is not approved as it is"]);
    broker.must(&["down", "words"]);
    // The very files that were approved.
    let (up, command) = refused(&broker);
    up.says(&["it was never approved"]);
    assert!(broker.containers().is_empty());
    approve(&broker, &command);
    broker.must(&["up", "words"]);
    assert_eq!(answer(&broker), "as approved");
    // One that cannot be read is taken back, too, and so is that of a pack that is gone.
    broker.must(&["down", "words"]);
    fs::write(broker.home().state().join("approvals/words.json"), "{").unwrap();
    fs::remove_dir_all(broker.home().pack("words")).unwrap();
    broker
        .must(&["disapprove", "words"])
        .says(&["`words` is approved no more"]);
    broker.packctl(&["disapprove", "words"]).exits(4);
}

#[test]
fn a_pack_is_started_only_as_it_was_approved() {
    let home = Home::new();
    write(&home);
    let broker = Broker::start(home);
    let home = broker.home();

    // Everything there is to know, and nothing done.
    let (up, command) = refused(&broker);
    up.says(&[
        "it was never approved",
        "+ version     1.0.0",
        "+ base        rumi-base:latest",
        "+ component   words:tool:run runs tool.py",
        "+ request     words:tool:run file_read {\"directories\":[\"/srv/texts\"]}",
        "+ file        lib/data.txt (5 bytes)",
        "+ file        tool.py",
        "+ file        pack.json",
        "words  not_approved",
    ]);
    broker.packctl(&["build", "words"]).exits(3);
    assert!(broker.containers().is_empty());
    let label = format!("label=rumi.instance={}", home.instance());
    let images = Output::of(Command::new("docker").args(["image", "ls", "-q", "--filter", &label]));
    assert_eq!(images.ok().stdout, "");
    let ps = broker.must(&["ps", "words", "-o", "json"]).json();
    assert_eq!(ps[0]["waits_for_approval"], true, "{ps}");
    broker.packctl(&["doctor"]).ok().says(&[
        "`words` is not approved as it is",
        "packctl approve words --show",
    ]);
    broker
        .must(&["approve", "words", "--show"])
        .says(&["it was never approved"]);
    refused(&broker);

    approve(&broker, &command).says(&["approved ", "packctl up words"]);
    broker.must(&["up", "words"]);
    assert_eq!(answer(&broker), "as approved");
    let ps = broker.must(&["ps", "words", "-o", "json"]).json();
    assert_eq!(ps[0]["waits_for_approval"], false, "{ps}");
    let doctor = broker.packctl(&["doctor"]).ok().stdout;
    assert!(!doctor.contains("approval: `words`"), "{doctor}");

    // Times and owners are nothing that is built.
    let code = home.pack("words").join("tool.py");
    let file = fs::File::options().append(true).open(code).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    broker.must(&["up", "words"]).says(&["up already"]);

    each_change_is_shown_and_not_started(&broker);

    // What is approved after that is what runs.
    home.write_file(
        "docker/packs/words/tool.py",
        "def run(args):\n    return 'the next'\n",
    );
    let (_, command) = refused(&broker);
    assert_eq!(answer(&broker), "as approved");
    approve(&broker, &command);
    broker.must(&["up", "words"]);
    assert_eq!(answer(&broker), "the next");
    // The one before is not approved any more.
    write_again(home);
    refused(&broker);
    broker.verify().ok();
}

/// A change of the pack, and what must be said of it.
type Change = (fn(&Home, &Path), &'static [&'static str]);

const CHANGES: &[Change] = &[
    (
        |_, pack| {
            fs::write(
                pack.join("tool.py"),
                "def run(args):\n    return 'no approved'\n",
            )
            .unwrap()
        },
        &[
            "- file        tool.py",
            "+ file        tool.py",
            "other content",
        ],
    ),
    (
        |_, pack| fs::write(pack.join("sitecustomize.py"), "").unwrap(),
        &["+ file        sitecustomize.py (0 bytes)"],
    ),
    (
        |_, pack| fs::remove_file(pack.join("lib/data.txt")).unwrap(),
        &["- file        lib/data.txt (5 bytes)"],
    ),
    (
        |_, pack| fs::rename(pack.join("lib/data.txt"), pack.join("lib/json.py")).unwrap(),
        &[
            "- file        lib/data.txt\n",
            "+ file        lib/json.py (5 bytes), with the same content",
        ],
    ),
    (
        |_, pack| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(pack.join("lib/data.txt"), mode).unwrap();
        },
        &[
            "- file        lib/data.txt (5 bytes)",
            "+ file        lib/data.txt (executable, 5 bytes)",
        ],
    ),
    (
        |_, pack| {
            fs::remove_file(pack.join("lib/data.txt")).unwrap();
            symlink("../tool.py", pack.join("lib/data.txt")).unwrap();
        },
        &["+ file        lib/data.txt (symlink to ../tool.py)"],
    ),
    (
        |_, pack| fs::create_dir(pack.join("empty")).unwrap(),
        &["+ file        empty (empty directory)"],
    ),
    (
        |home, _| {
            change_manifest(home, |m| {
                m["requests"][TOOL]["network"] = json!({"allowed_domains": ["example.com"]})
            })
        },
        &[
            "+ request     words:tool:run network {\"allowed_domains\":[\"example.com\"]}",
            "+ file        pack.json",
        ],
    ),
    (
        |home, _| {
            change_manifest(home, |m| {
                m["requests"][TOOL]["file_read"]["directories"] = json!(["/"])
            })
        },
        &[
            "- request     words:tool:run file_read {\"directories\":[\"/srv/texts\"]}",
            "+ request     words:tool:run file_read {\"directories\":[\"/\"]}",
        ],
    ),
    (
        |home, _| {
            change_manifest(home, |m| {
                drop(m.as_object_mut().unwrap().remove("requests"))
            })
        },
        &["- request     words:tool:run file_read"],
    ),
    (
        |home, _| change_manifest(home, |m| m["base"] = json!("tools")),
        &[
            "- base        rumi-base:latest",
            "+ base        rumi-tools:latest",
        ],
    ),
    (
        |home, _| change_manifest(home, |m| m["requirements"] = json!(["six"])),
        &[
            "+ requirement six",
            "requirements are approved as lines; for 1 of them without a hash",
        ],
    ),
    (
        |_, pack| fs::write(pack.join("Dockerfile"), "FROM rumi-base\nRUN touch /x\n").unwrap(),
        &["+ dockerfile  FROM rumi-base", "+ dockerfile  RUN touch /x"],
    ),
    (
        |home, _| {
            change_manifest(home, |m| {
                let mut other = m["components"][0].clone();
                other["id"] = json!("words:service:late");
                m["components"].as_array_mut().unwrap().push(other);
            });
        },
        &["+ component   words:service:late runs tool.py from its start on"],
    ),
];

fn each_change_is_shown_and_not_started(broker: &Broker) {
    let containers = broker.containers();
    for (change, says) in CHANGES {
        change(broker.home(), &broker.home().pack("words"));
        let (up, _) = refused(broker);
        up.says(&["it is not what was approved"]).says(says);
        assert_eq!(broker.containers(), containers);
        assert_eq!(answer(broker), "as approved");
        write_again(broker.home());
        broker.must(&["up", "words"]).says(&["up already"]);
    }
}

#[test]
fn an_approval_is_of_what_was_shown() {
    let home = Home::new();
    write(&home);
    let broker = Broker::start(home);
    let (_, command) = refused(&broker);
    broker.home().write_file("docker/packs/words/more.py", "");
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let late = broker.packctl(&words).exits(3);
    late.says(&["+ file        more.py", "nothing was approved"]);
    refused(&broker);
    // The broker does not take packctl's word for it.
    let digest = command.last().unwrap().clone();
    let approved = broker.block_on(async {
        let request = rumi_proto::v1::ApproveRequest {
            pack: "words".to_owned(),
            digest,
        };
        broker.control().await.unwrap().approve(request).await
    });
    assert_eq!(approved.unwrap_err().code(), tonic::Code::PermissionDenied);
    refused(&broker);
    // Without a digest it is what it shows itself.
    broker
        .must(&["approve", "words"])
        .says(&["+ file        more.py"]);
    broker.must(&["up", "words"]);
    // What makes no sense is said.
    for (arguments, code) in [
        (&["approve"][..], 2),
        (&["approve", "absent"], 4),
        (&["approve", "../words"], 2),
        (&["approve", "handler-x"], 4),
        (&["approve", "words", "--digest", "1234"], 2),
        (&["approve", "words", "--digest", words[3], "--show"], 2),
        (&["approve", "words", "probe", "--digest", words[3]], 2),
    ] {
        broker.packctl(arguments).exits(code).says(&["hint: "]);
    }
}

#[test]
fn what_was_done_is_in_the_record() {
    let home = Home::new();
    write(&home);
    let broker = Broker::start(home);
    let (_, command) = refused(&broker);
    let digest = command.last().unwrap();
    let up = broker.must(&["up", "words", "--yes"]);
    up.says(&["approved as it is, without a look"]);
    let of = |action: &str| -> Vec<Value> {
        let all = broker.audit().into_iter();
        all.filter(|record| record["action"] == action).collect()
    };
    let refusal = of("not_started").remove(0);
    assert_eq!(
        (&refusal["reason"], &refusal["pack"]),
        (&json!("not_approved"), &json!("words"))
    );
    assert_eq!(refusal["detail"]["digest"], json!(digest));
    let unseen = of("approve").remove(0);
    assert_eq!(unseen["detail"]["digest"], json!(digest));
    assert_eq!(unseen["detail"]["how"], "unseen, by --yes");
    assert_eq!(unseen["peer"]["uid"], 0);
    // It holds as any other does, and a look can follow.
    broker.must(&["up", "words"]).says(&["up already"]);
    assert_eq!(of("approve").len(), 1);
    let shown = broker.must(&["approve", "words"]);
    shown.says(&["it is as it was approved", "unseen", "record "]);
    let seen = of("approve").remove(1);
    assert_eq!(seen["detail"]["how"], "shown");
    broker.must(&["approve", "words"]);
    assert_eq!(of("approve").len(), 2, "there was nothing to approve");
    let rows = broker.must(&["approve", "words", "-o", "json"]).json();
    assert_eq!(
        (&rows[0]["approved"], &rows[0]["record"], &rows[0]["digest"]),
        (&json!(true), &Value::Null, &json!(digest))
    );
    broker.verify().ok();
}

#[test]
fn a_restarted_broker_adopts_what_runs_and_starts_nothing_else() {
    let home = Home::new();
    write(&home);
    let mut broker = Broker::start(home);
    broker.up(&["words"]);
    let containers = broker.containers();
    // A manifest that nobody approved is not used for what runs, nor does it end it.
    let spoil: [fn(&Home); 2] = [
        |home| {
            change_manifest(home, |m| {
                m["components"][0]["schema"] = json!({"type": "object", "required": ["x"]})
            })
        },
        |home| home.write_file("docker/packs/words/pack.json", "{"),
    ];
    for (spoil, code) in spoil.into_iter().zip([3, 1]) {
        spoil(broker.home());
        broker.restart();
        assert_eq!(broker.containers(), containers);
        assert_eq!(answer(&broker), "as approved");
        broker.packctl(&["up", "words"]).exits(code);
        assert_eq!(answer(&broker), "as approved");
        write_again(broker.home());
    }
    // An approval that is given while something else runs is for the next start.
    broker.home().write_file("docker/packs/words/more.py", "");
    broker.must(&["approve", "words"]);
    broker.restart();
    assert_eq!(broker.containers(), containers);
    assert_eq!(answer(&broker), "as approved");
    broker.must(&["down", "words"]);
    broker.must(&["up", "words"]);
    broker.must(&["down", "words"]);
    broker.restart();
    write_again(broker.home());
    refused(&broker);
    assert!(broker.containers().is_empty());
}

#[test]
fn the_network_of_a_build_is_approved_and_a_new_base_is_not_asked_for() {
    let image = format!("rumi-approval-{}:latest", std::process::id());
    let make = |label: &str| {
        let dockerfile = format!("FROM rumi-base:latest\nLABEL made={label}\n");
        let mut docker = Command::new("docker");
        let docker = docker.args(["build", "--network", "none", "-q", "-t", &image, "-"]);
        Output::fed(docker, dockerfile.as_bytes()).ok();
    };
    make("first");
    let home = Home::new();
    write(&home);
    home.write_file("docker/packs/words/Dockerfile", &format!("FROM {image}\n"));
    let mut broker = Broker::start(home);
    let (up, command) = refused(&broker);
    up.says(&[&format!("+ dockerfile  FROM {image}")]);
    approve(&broker, &command);
    broker.must(&["up", "words"]);
    // The host's image is not the pack's: another one is built upon and started.
    make("second");
    let up = broker.must(&["up", "words", "-o", "json"]).json();
    assert_eq!(up[0]["changed"], true, "{up}");
    // Whether the Dockerfile has the network is part of what is approved.
    broker.stop();
    broker
        .home()
        .configure(|config| config["build"]["networked_packs"] = json!(["words"]));
    broker.launch();
    let (up, _) = refused(&broker);
    up.says(&["+ network     the Dockerfile has the network while it runs"]);
    assert_eq!(answer(&broker), "as approved");
    broker.must(&["down"]);
    let mut remove = Command::new("docker");
    Output::of(remove.args(["image", "rm", "-f", &image])).ok();
}

#[test]
fn a_pack_that_takes_a_known_name_is_shown_what_it_may_already() {
    let home = Home::new();
    write(&home);
    let broker = Broker::start(home);
    broker.up(&["words"]);
    broker.grant(
        TOOL,
        &json!({"env_read": {"enabled": true, "allowed_keys": ["HOME"]}}),
    );
    broker.must(&["down", "words"]);
    fs::remove_dir_all(broker.home().pack("words")).unwrap();
    broker
        .home()
        .write_pack("words", "def run(args):\n    return 'a stranger'\n");
    let (up, _) = refused(&broker);
    up.says(&[
        "it is not what was approved",
        "- request     words:tool:run file_read",
        "= grant       words:tool:run may already: env_read",
    ]);
}
