//! Libraries that ad-hoc code finds, because the admin lists them.

use std::time::Duration;

use rumi_tests::{Broker, Home, Output, wait_for};
use serde_json::json;

fn listed(packages: &[&str], change: impl FnOnce(&mut serde_json::Value)) -> Home {
    let home = Home::new();
    list(&home, packages);
    home.configure(change);
    home
}

fn list(home: &Home, packages: &[&str]) {
    home.configure(|config| config["exec"]["requirements"] = json!({"python": packages}));
}

/// Until the image was built, or could not be.
fn decided(broker: &Broker) -> String {
    let limit = Duration::from_secs(300);
    let mut said = String::new();
    wait_for("the image is there or is not", limit, || {
        said = broker.packctl(&["doctor", "-o", "json"]).stdout;
        said.contains("code image") && !said.contains("is being built")
    });
    said
}

#[test]
fn code_finds_the_libraries_of_the_list_and_of_no_other() {
    let mut broker = Broker::start(listed(&["six==1.17.0"], |_| {}));
    // A run waits for the image by itself.
    let version = "import six\nprint(six.__version__)";
    broker.must(&["exec", "-c", version]).says(&["1.17.0"]);
    assert!(decided(&broker).contains("six==1.17.0"));
    broker.must(&["session", "new", "libraries"]);
    broker
        .must(&["session", "exec", "libraries", "-c", version])
        .says(&["1.17.0"]);
    // Other languages find the same interpreter.
    let code = "python3 -c 'import six; print(six.__version__)'";
    broker
        .must(&["exec", "--lang", "bash", "-c", code])
        .says(&["1.17.0"]);
    let other = ["exec", "--allow-import", "idna", "-c", "import idna"];
    broker.packctl(&other).exits(1).says(&["No module named"]);
    let waited = broker.containers();
    assert!(!waited.is_empty());

    broker.stop();
    list(broker.home(), &["idna==3.7"]);
    broker.launch();
    broker
        .must(&["exec", "-c", "import idna\nprint(idna.__version__)"])
        .says(&["3.7"]);
    let gone = ["exec", "--allow-import", "six", "-c", "import six"];
    broker.packctl(&gone).exits(1).says(&["No module named"]);
    let now = broker.containers();
    assert!(!waited.iter().any(|old| now.contains(old)), "{waited:?}");
}

/// What a run and the doctor both say.
#[track_caller]
fn both_say(broker: &Broker, parts: &[&str]) {
    let refused: Output = broker.packctl(&["exec", "-c", "print(1)"]).exits(1);
    assert_eq!(refused.stdout, "", "code ran");
    refused.says(parts);
    let doctor = decided(broker);
    for part in parts {
        assert!(doctor.contains(part), "{doctor} lacks {part}");
    }
}

#[test]
fn code_does_not_run_without_libraries_that_it_was_promised() {
    let broker = Broker::start(listed(&["six"], |config| {
        config["build"]["allowed_requirements"] = json!(["idna"]);
    }));
    both_say(
        &broker,
        &["exec.requirements", "`six` is not among the packages"],
    );
    drop(broker);
    let home = listed(&["rumi-has-no-such-package==1"], |_| {});
    let broker = Broker::start_with(home, &[("PIP_NO_INDEX", "1")]);
    both_say(
        &broker,
        &["wheels could not be downloaded", "rumi-has-no-such-package"],
    );
    assert!(broker.containers().is_empty());
}
