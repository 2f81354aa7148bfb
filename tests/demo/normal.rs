//! What differs from run to run, replaced by a word for it.

use std::path::Path;

/// Where the demo lies when nobody says otherwise, and what the transcript shows.
const DEFAULT_DIRECTORY: &str = "/var/tmp/rumi-demo";

/// The transcript with times, ids, hashes and places replaced.
pub(crate) fn normal(transcript: &str, directory: &Path) -> String {
    let mut text = transcript.replace(&directory.display().to_string(), DEFAULT_DIRECTORY);
    for id in record_ids(&text) {
        text = text.replace(&id, "RECORD");
    }
    let mut lines: Vec<String> = text.lines().map(|line| words(&hashes(line))).collect();
    // Packs go down at the same time, in whatever order.
    for pair in 1..lines.len() {
        if lines[pair - 1].contains(": down (")
            && lines[pair].contains(": down (")
            && lines[pair - 1] > lines[pair]
        {
            lines.swap(pair - 1, pair);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn record_ids(text: &str) -> Vec<String> {
    text.split("(record ")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(id, _)| id.to_owned())
        .collect()
}

/// Replaces what is at least twelve hexadecimal digits, but for numbers of nothing but zeros.
fn hashes(line: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let end = |run: &mut String, out: &mut String| {
        let hexadecimal = run
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if run.len() >= 12 && hexadecimal && run.chars().any(|c| c != '0') {
            out.push_str("HASH");
        } else {
            out.push_str(run);
        }
        run.clear();
    };
    for character in line.chars() {
        if character.is_ascii_alphanumeric() {
            run.push(character);
        } else {
            end(&mut run, &mut out);
            out.push(character);
        }
    }
    end(&mut run, &mut out);
    out
}

/// Replaces times, and the numbers of records, lines and bytes.
fn words(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let cores: Vec<&str> = words
        .iter()
        .map(|word| word.trim_matches(|c: char| ",.;:()[]`".contains(c)))
        .collect();
    let core = |index: Option<usize>| index.and_then(|index| cores.get(index)).copied();
    let mut out = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let this = cores[index];
        let number = !this.is_empty() && this.chars().all(|c| c.is_ascii_digit() || c == '.');
        let before = core(index.checked_sub(1));
        let after = core(Some(index + 1));
        let counted = matches!(before, Some("record" | "line" | "byte"))
            || matches!(after, Some("records" | "of" | "s" | "ms" | "bytes"));
        let replaced = if number && counted {
            word.replace(this, "N")
        } else if this == "ms" {
            word.replace(this, "s")
        } else if this.len() == 27 && this.ends_with('Z') {
            word.replace(this, "TIME")
        } else {
            (*word).to_owned()
        };
        out.push(replaced);
    }
    out.join(" ")
}

#[test]
fn only_what_differs_is_replaced() {
    let directory = Path::new("/tmp/x");
    for (shown, normal_form) in [
        ("[exit code 3, 0.07 s]", "[exit code 3, N s]"),
        ("default: down (154 ms)", "default: down (N s)"),
        ("it took 2.5 s", "it took N s"),
        ("    \"words\": 45,", "    \"words\": 45,"),
        ("2 documents, 45 words.", "2 documents, 45 words."),
        ("$ ls /tmp/x/a", "$ ls /var/tmp/rumi-demo/a"),
        (
            "log-00000000000000000000.jsonl",
            "log-00000000000000000000.jsonl",
        ),
        ("up  b14b7315bc9d  x", "up  HASH  x"),
        ("=b14b7315bc9d)", "=HASH)"),
        ("line 18, record 17: `prev`", "line N, record N: `prev`"),
        ("2026-11-21T12:58:15.955888Z  a", "TIME  a"),
        (
            "no (record x06nyym2zgfgwxp1) x06nyym2zgfgwxp1",
            "no (record RECORD) RECORD",
        ),
        (
            "b: down (1 s)\na: down (2 s)",
            "a: down (N s)\nb: down (N s)",
        ),
    ] {
        assert_eq!(normal(shown, directory), format!("{normal_form}\n"));
    }
}
