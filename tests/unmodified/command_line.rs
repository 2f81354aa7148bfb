//! `curl`, `git clone` and `pip download`, which take the proxy from their environment.

use serde_json::{Value, json};

use crate::{
    sites::{packages, repository},
    surroundings::sees_nothing_else,
    world::{AT_ONCE, Ran, world},
};

fn argv(argv: &[&str]) -> Value {
    json!({"argv": argv})
}

/// Both streams of a command that has ended.
fn text(ran: &Ran) -> String {
    let stream = |name: &str| ran.answered()[name].as_str().unwrap().to_owned();
    stream("stdout") + &stream("stderr")
}

#[test]
fn curl_fetches_what_was_granted_and_sees_nothing_else() {
    let world = world();
    world.pack("tools");
    let component = "tools:tool:granted";
    world.grant_hosts(
        component,
        &[
            "www.example.test",
            "git.example.test",
            "packages.example.test",
        ],
    );
    let curl = [
        "curl",
        "--silent",
        "--show-error",
        "https://www.example.test/hello",
    ];
    let ran = sees_nothing_else(world, component, "command", &argv(&curl));
    assert_eq!(
        (&ran.answered()["code"], &ran.answer["stdout"]),
        (&json!(0), &json!("hello\n")),
        "{ran:?}"
    );
}

#[test]
fn git_clones_what_was_granted() {
    let world = world();
    world.pack("tools");
    repository(world);
    let component = "tools:tool:granted";
    world.grant_hosts(
        component,
        &[
            "www.example.test",
            "git.example.test",
            "packages.example.test",
        ],
    );
    let clone = "git clone --quiet https://git.example.test/git/notes.git && cat notes/plan.md && git -C notes log --format=%s";
    let ran = world.run(component, "command", &argv(&["sh", "-c", clone]));
    assert_eq!(
        (&ran.answered()["code"], &ran.answer["stdout"]),
        (&json!(0), &json!("# Plan\nThe plan\n")),
        "{ran:?}"
    );
}

#[test]
fn pip_downloads_what_was_granted() {
    let world = world();
    world.pack("tools");
    packages(world);
    let component = "tools:tool:granted";
    world.grant_hosts(
        component,
        &[
            "www.example.test",
            "git.example.test",
            "packages.example.test",
        ],
    );
    let download = "python3 -m pip download --quiet --index-url https://packages.example.test/simple/ rumi-sample && ls";
    let ran = world.run(component, "command", &argv(&["sh", "-c", download]));
    let listed = ran.answered()["stdout"].as_str().unwrap();
    assert!(
        listed.contains("rumi_sample-1.0-py3-none-any.whl"),
        "{ran:?}"
    );
}

#[test]
fn what_was_not_granted_is_a_403_that_says_why() {
    let world = world();
    world.pack("tools");
    repository(world);
    packages(world);
    let component = "tools:tool:refused";
    world.grant_hosts(component, &["other.example.test"]);
    let ran = world.run(
        component,
        "command",
        &argv(&["curl", "--verbose", "https://www.example.test/hello"]),
    );
    assert_eq!(ran.answered()["code"], 56, "{ran:?}");
    let said = text(&ran);
    let record = &ran.denied("domain_not_allowed", "www.example.test").record;
    for part in [
        "403",
        "rumi-reason: domain_not_allowed",
        &format!("rumi-record: {record}"),
    ] {
        assert!(
            said.to_lowercase().contains(part),
            "`{part}` is missing in {said}"
        );
    }
    let ran = world.run(
        component,
        "command",
        &argv(&["curl", "--silent", "http://www.example.test/hello"]),
    );
    assert!(text(&ran).contains("www.example.test"), "{ran:?}");
    let clone = ["git", "clone", "https://git.example.test/git/notes.git"];
    let ran = world.run(component, "command", &argv(&clone));
    assert_eq!(ran.answered()["code"], 128, "{ran:?}");
    assert!(text(&ran).contains("403"), "{ran:?}");
    ran.denied("domain_not_allowed", "git.example.test");
    let index = "https://packages.example.test/simple/";
    let download = [
        "python3",
        "-m",
        "pip",
        "download",
        "--retries=1",
        "--index-url",
        index,
        "rumi-sample",
    ];
    let ran = world.run(component, "command", &argv(&download));
    assert_eq!(ran.answered()["code"], 1, "{ran:?}");
    assert!(text(&ran).contains("403"), "{ran:?}");
}

#[test]
fn the_remedy_that_a_refusal_names_is_what_makes_it_work() {
    let world = world();
    world.pack("tools");
    repository(world);
    let component = "tools:tool:remedied";
    let clone = argv(&[
        "git",
        "clone",
        "--quiet",
        "https://git.example.test/git/notes.git",
    ]);
    let ran = world.run(component, "command", &clone);
    assert_eq!(ran.answered()["code"], 128, "{ran:?}");
    world.apply(ran.denied("no_grant", "git.example.test"));
    assert_eq!(
        world.run(component, "command", &clone).answered()["code"],
        0
    );
}

#[test]
fn ways_around_the_proxy_end_at_once() {
    let world = world();
    world.pack("tools");
    let component = "tools:tool:around";
    world.grant_hosts(component, &["other.example.test"]);
    let address = rumi_tests::own_address().to_string();
    let (by_address, resolved) = (
        format!("https://{address}/hello"),
        format!("www.example.test:443:{address}"),
    );
    for around in [
        &["--noproxy", "*", "https://www.example.test/hello"][..],
        &["--proxy", "", "https://www.example.test/hello"],
        &["--proxy", "", "--insecure", &by_address],
        &[
            "--proxy",
            "",
            "--resolve",
            &resolved,
            "https://www.example.test/hello",
        ],
        &["--proxy", "", "http://127.0.0.1:80/hello"],
        &["--proxy", "", "http://[::1]:80/hello"],
    ] {
        let command = [
            &["curl", "--silent", "--show-error", "--max-time", "10"],
            around,
        ]
        .concat();
        let ran = world.run(component, "command", &argv(&command));
        assert_ne!(ran.answered()["code"], 0, "{ran:?}");
        assert!(ran.took < AT_ONCE, "{ran:?}");
    }
}
