//! The checkers of ad-hoc code, in the images that they run in, over honest and hostile code.
//!
//! The cases are files of code, each followed by a line `>>>` with all that is to be found: place, rule, and name.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in the functions it calls as well"
)]

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use rumi_broker::vetting::{
    Check, Exemptions, Finding, Findings, Language, ValidationSettings, checker,
};

/// Of the libraries that the cases use, those that may be imported.
const IMPORTS: &str = r#"{"python": {"imports": ["math", "json", "os", "sys", "re", "io", "pathlib", "functools",
    "operator", "shutil", "time", "collections", "concurrent", "asyncio"]},
    "javascript": {"imports": ["fs", "path", "os", "util", "events", "process", "http", "crypto", "timers"]}}"#;

fn settings(json: &str) -> ValidationSettings {
    serde_json::from_str(json).unwrap()
}

fn image(language: Language) -> &'static str {
    match language {
        Language::Python | Language::Bash => "rumi-base:latest",
        Language::Javascript => "rumi-node:latest",
    }
}

/// What a command in a container prints when it is asked about each piece of code.
fn asked(
    language: Language,
    codes: &[&str],
    settings: &ValidationSettings,
    argv: &[&str],
) -> String {
    let exempt = Exemptions::default();
    let line = |code: &&str| {
        Check::new(language, code, settings, &exempt)
            .line()
            .unwrap()
    };
    let lines: Vec<u8> = codes.iter().flat_map(line).collect();
    let mut container = Command::new("docker")
        .args([
            "run",
            "--rm",
            "--interactive",
            "--network",
            "none",
            "--read-only",
            "--cap-drop",
            "ALL",
        ])
        .args([
            "--tmpfs",
            "/tmp",
            "--user",
            "65534",
            "--memory",
            "512m",
            image(language),
        ])
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = container.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(&lines));
    let output = container.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What a checker of its own says of each piece of code.
fn answers(language: Language, codes: &[&str], settings: &ValidationSettings) -> Vec<Vec<u8>> {
    // A checker that dies says nothing, and its answer stays empty.
    let each = format!(
        "while IFS= read -r line; do printf '%s\\n' \"$line\" | {} 2>/dev/null; echo =; done",
        checker(language).join(" ")
    );
    let text = asked(language, codes, settings, &["sh", "-c", &each]);
    let mut answers: Vec<Vec<u8>> = text
        .split("=\n")
        .map(|one| one.as_bytes().to_vec())
        .collect();
    assert_eq!(answers.pop(), Some(Vec::new()));
    assert_eq!(answers.len(), codes.len());
    answers
}

/// What one checker finds in all of them, one after the other.
fn check(language: Language, codes: &[&str], settings: &ValidationSettings) -> Vec<Findings> {
    let read = |answer: &str| {
        Findings::parse(language, answer.as_bytes())
            .unwrap_or_else(|error| panic!("{answer}: {error}"))
    };
    let text = asked(language, codes, settings, checker(language));
    let found: Vec<Findings> = text.lines().map(read).collect();
    assert_eq!(found.len(), codes.len());
    found
}

fn shown(findings: &Findings) -> String {
    let one = |finding: &Finding| format!("{}:{} {}", finding.line, finding.column, finding.rule);
    let all: Vec<String> = findings.list().iter().map(one).collect();
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all.join("; ")
    }
}

/// Every case of a file: the code, and what is to be found in it without the names.
fn cases(text: &str) -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let mut code = Vec::new();
    for line in text.lines() {
        let Some(expected) = line.strip_prefix(">>> ") else {
            code.push(line);
            continue;
        };
        let words = |one: &str| one.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let expected: Vec<String> = expected.split("; ").map(words).collect();
        cases.push((
            code.join("\n").trim_start_matches('\n').to_owned(),
            expected.join("; "),
        ));
        code.clear();
    }
    cases
}

fn all_cases_of(language: Language, at_least: usize) {
    let path = format!(
        "{}/tests/vetting/{language}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let cases = cases(&fs::read_to_string(path).unwrap());
    assert!(cases.len() >= at_least, "{} cases", cases.len());
    let codes: Vec<&str> = cases.iter().map(|(code, _)| code.as_str()).collect();
    let mut wrong = Vec::new();
    for ((code, expected), found) in cases
        .iter()
        .zip(check(language, &codes, &settings(IMPORTS)))
    {
        if shown(&found) != *expected {
            wrong.push(format!(
                "{code}\nexpected {expected}\nfound    {}\n",
                shown(&found)
            ));
        }
        // Whatever is objected to can be allowed, unless it cannot be read.
        for finding in found.list() {
            assert_eq!(
                finding.allow.is_empty(),
                finding.rule.as_str() == "syntax",
                "{code}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn python_is_looked_through_by_its_syntax_and_not_by_its_words() {
    all_cases_of(Language::Python, 60);
}

#[test]
fn javascript_is_looked_through_by_its_syntax_and_not_by_its_words() {
    all_cases_of(Language::Javascript, 50);
}

#[test]
fn bash_is_looked_through_by_its_syntax_and_not_by_its_words() {
    all_cases_of(Language::Bash, 60);
}

/// What the settings say decides, and what a finding says would allow it does.
#[test]
fn settings_and_exemptions_decide_what_is_found() {
    let code = "import os, subprocess\nos.system('x'); os.kill(1, 2); open('a', 'w'); eval('1'); os.getcwd()";
    let found = |json: &str| {
        let found = check(Language::Python, &[code], &settings(json));
        found.iter().map(shown).collect::<String>()
    };
    let all = "1:12 processes; 2:1 processes; 2:17 processes; 2:32 file_writes; 2:48 dynamic_code";
    assert_eq!(found("{}"), all);
    assert_eq!(found(r#"{"rules": []}"#), "1:12 imports");
    assert_eq!(
        found(r#"{"rules": [], "python": {"imports": null}}"#),
        "nothing"
    );
    assert_eq!(
        found(r#"{"rules": ["dynamic_code"], "python": {"imports": []}}"#),
        "1:8 imports; 1:12 imports; 2:48 dynamic_code"
    );
    let permitted = r#"{"python": {"permitted": ["subprocess", "os.system", "open", "eval"]}}"#;
    assert_eq!(found(permitted), "2:17 processes");
    let imported = r#"{"rules": ["processes"], "python": {"imports": ["standard", "subprocess"]}}"#;
    assert_eq!(found(imported), "2:1 processes; 2:17 processes");
    let forbidden =
        r#"{"rules": [], "python": {"imports": null, "forbidden": ["os.getcwd", "eval"]}}"#;
    assert_eq!(found(forbidden), "2:48 forbidden; 2:59 forbidden");
    let own =
        r#"{"rules": [], "javascript": {"imports": null, "forbidden": ["fetch", "fs.readFile"]}}"#;
    let code = "fetch('x'); require('fs').readFile('x'); process.kill(1)";
    assert_eq!(
        shown(&check(Language::Javascript, &[code], &settings(own))[0]),
        "1:1 forbidden; 1:13 forbidden"
    );
    let own = r#"{"bash": {"forbidden": ["curl"], "permitted": ["rm"]}}"#;
    assert_eq!(
        shown(&check(Language::Bash, &["rm x; curl y; mv a b"], &settings(own))[0]),
        "1:7 forbidden; 1:15 file_writes"
    );
}

/// Code that is long, deep or broken is answered all the same, and in time.
#[test]
fn no_code_keeps_a_checker_from_its_answer() {
    let deep = |open: &str, close: &str, depth: usize| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    let mut of_all = vec![
        String::new(),
        "\0".to_owned(),
        "\u{feff}x".to_owned(),
        "\r\r\n\u{2028}é\u{10ffff}".to_owned(),
        deep("(", ")", 50_000),
        deep("[", "]", 150),
        deep("-", "", 50_000),
        deep("$(", ")", 3_000),
        deep("`", "`", 2_000),
        deep("{a:", "}", 3_000),
        format!("x = {}1", "1 + ".repeat(20_000)),
        "x = 1;\n".repeat(20_000),
        "a.".repeat(20_000) + "a",
        "\"".repeat(20_001),
        "<<A ".repeat(2_000),
        "case x in a) ".repeat(1_000),
        // More findings than anybody reads.
        "eval(1);\n".repeat(10_000),
        "eval 1\n".repeat(10_000),
        format!("import {}", "x".repeat(100_000)),
        format!("require('{}')", "x".repeat(100_000)),
    ];
    // Names that stand for each other in a ring, and grow with each turn.
    let ring = (0..300).map(|n| format!("v{n} = v{}.a", (n + 1) % 300));
    of_all.push(ring.collect::<Vec<_>>().join("\n"));
    of_all.push("f = (x) => f(f(x)); f(f)\n".repeat(200));
    for language in Language::ALL {
        let codes: Vec<&str> = of_all.iter().map(String::as_str).collect();
        for (code, answer) in of_all
            .iter()
            .zip(answers(language, &codes, &settings("{}")))
        {
            if let Err(error) = Findings::parse(language, &answer) {
                let start: String = code.chars().take(40).collect();
                let message = error.to_string();
                assert!(
                    message.contains("nested too deeply"),
                    "{language} {start:?}: {message}"
                );
            }
        }
    }
}
