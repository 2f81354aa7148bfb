//! Ad-hoc code is looked through before it runs.

use std::{fs, sync::OnceLock};

use rumi_tests::{Broker, Home};
use serde_json::Value;

/// One broker for all tests here, with the settings as they are shipped.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Home::new()))
}

fn reply(words: &[&str]) -> Value {
    let mut all = vec!["-o", "json", "exec"];
    all.extend(words);
    let output = broker().packctl(&all);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What was found, each as `line:column rule`.
fn found(reply: &Value) -> Vec<String> {
    let findings = reply["findings"].as_array().expect("findings");
    let one = |finding: &Value| {
        let rule = finding["rule"].as_str().unwrap_or_default();
        format!("{}:{} {rule}", finding["line"], finding["column"])
    };
    findings.iter().map(one).collect()
}

#[test]
fn code_that_is_objected_to_does_not_run_and_is_told_where_and_what_would_allow_it() {
    let code = "print('ran')\nfrom os import system as s\ns('echo ran')";
    let output = broker().packctl(&["exec", "-c", code]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    for part in [
        "line 2, column 16: `system` of `os` (processes)",
        "line 3, column 1: `s`, which is `os.system` (processes)",
        "`os.system` in `exec.validation.python.permitted` of docker/config.json",
        "python (line 2 has `from … import`)",
    ] {
        assert!(output.stderr.contains(part), "{part}: {output:?}");
    }
    let reply = reply(&["-c", code]);
    assert_eq!(found(&reply), ["2:16 processes", "3:1 processes"]);
    assert_eq!(reply["exit_code"], Value::Null);
    let log = fs::read_to_string(broker().home().state().join("log/executions.jsonl")).unwrap();
    let of_this = |line: &Value| line["container_id"] == reply["container_id"];
    let mut lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let line = lines.find(of_this).expect("a line of the run");
    assert_eq!(
        line["findings"][1]["found"], "`s`, which is `os.system`",
        "{line}"
    );
}

#[test]
fn each_language_is_looked_through_in_its_own_container() {
    let cases = [
        (
            "const fs = require('fs');\nfs\n  .rmSync('x')",
            "javascript",
            "2:1 file_removals",
        ),
        (
            "set -e\nfiles=$(rm -f x)\necho \"$files\"",
            "bash",
            "2:9 file_removals",
        ),
        (
            "import os\nrun = getattr(os, 'sys' + 'tem')",
            "python",
            "2:7 processes",
        ),
        ("def f(:\n    pass", "python", "1:7 syntax"),
    ];
    for (code, language, expected) in cases {
        let reply = reply(&["--check", "-c", code]);
        assert_eq!(reply["language"], language, "{reply}");
        assert_eq!(found(&reply), [expected], "{reply}");
    }
}

#[test]
fn honest_code_runs_and_words_in_strings_are_no_calls() {
    let code = "# eval('1')\nprint(\"os.system('x'); eval(1)\")";
    assert_eq!(reply(&["-c", code])["stdout"], "os.system('x'); eval(1)\n");
    let code = "console.log(`eval('1') ${1 + 1}`) // require('child_process')";
    assert_eq!(reply(&["-c", code])["stdout"], "eval('1') 2\n");
    let code = "echo 'rm -rf /' # rm x";
    assert_eq!(reply(&["-c", code])["stdout"], "rm -rf /\n");
}

#[test]
fn what_a_run_is_given_exempts_it() {
    let code = "import socket, subprocess\nprint(subprocess.run(['echo', 'ran'], capture_output=True).stdout)";
    let allowed = ["--allow-import", "socket", "--allow-import", "subprocess"];
    let mut words = allowed.to_vec();
    words.extend(["-c", code]);
    let ran = reply(&words);
    assert_eq!(
        (ran["stdout"].as_str(), found(&ran)),
        (Some("b'ran\\n'\n"), vec![]),
        "{ran}"
    );
    let refused = reply(&["-c", code]);
    assert_eq!(
        found(&refused),
        ["1:8 imports", "1:16 processes", "2:7 processes"]
    );
    assert!(
        refused["findings"][0]["allow"]
            .as_str()
            .unwrap()
            .contains("--allow-import socket")
    );
    // A run that gives files back may write them.
    let code = "open('x.txt', 'w').write('kept')";
    assert_eq!(found(&reply(&["-c", code])), ["1:1 file_writes"]);
    let out = broker().home().base().join("written");
    let kept = reply(&["--out", out.to_str().unwrap(), "-c", code]);
    assert_eq!(found(&kept), Vec::<String>::new());
    assert_eq!(fs::read_to_string(out.join("x.txt")).unwrap(), "kept");
}

#[test]
fn a_check_runs_nothing_and_an_admin_may_switch_all_of_it_off() {
    let checked = reply(&["--check", "-c", "print('ran')"]);
    assert_eq!(
        (checked["stdout"].as_str(), found(&checked)),
        (Some(""), vec![]),
        "{checked}"
    );
    let output = broker().packctl(&["exec", "--check", "-c", "print('ran')"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output:?}");
    let home = Home::new();
    home.configure(|config| {
        config["exec"]["validation"] = serde_json::json!({"enabled": false});
    });
    let lax = Broker::start(home);
    let output = lax.packctl(&["exec", "-c", "print(eval('6 * 7'))"]);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "42\n"),
        "{output:?}"
    );
    // Who asks for a check gets one.
    let output = lax.packctl(&["exec", "--check", "-c", "print(eval('6 * 7'))"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output.stderr.contains("`eval` (dynamic_code)"),
        "{output:?}"
    );
}
