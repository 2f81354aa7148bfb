//! SECURITY.md names a test for each threat, or says why there is none.

use std::{collections::BTreeSet, fs, path::Path};

use rumi_tests::repository;

const SECTION: &str = "## Threats and their tests";

/// Rows of the section's tables: a threat and what it is mapped to.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join("SECURITY.md")).unwrap();
    let (_, section) = text.split_once(SECTION).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter(|line| !line.starts_with("---") && !line.starts_with("threat |"))
        .map(|line| {
            let (threat, tests) = line.split_once(" | ").unwrap_or((line, ""));
            (threat.trim().to_owned(), tests.trim().to_owned())
        })
        .collect()
}

#[test]
fn every_threat_is_mapped_to_tests_or_to_a_sentence() {
    let rows = rows();
    assert!(rows.len() >= 60, "only {} threats", rows.len());
    for (threat, tests) in &rows {
        assert!(!threat.is_empty());
        let sentence = tests.split_whitespace().count() >= 4 && tests.ends_with('.');
        assert!(
            tests.contains('`') || sentence,
            "`{threat}` is mapped to nothing: `{tests}`"
        );
        assert!(!tests.contains('|'), "`{threat}` has another column");
    }
}

#[test]
fn every_test_that_the_threats_name_exists() {
    let mut known = BTreeSet::new();
    for directory in ["tests", "broker", "packctl", "docker"] {
        collect(&repository().join(directory), &mut known);
    }
    assert!(known.len() > 100, "the sources were not found");
    for (threat, tests) in rows() {
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(
                known.contains(name),
                "`{threat}` names the test `{name}`, which does not exist"
            );
        }
    }
}

/// Names of the functions that are tests, in Rust and in Python.
fn collect(directory: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && name != "node_modules" {
                collect(&path, known);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "py")
        {
            tests_of(&fs::read_to_string(&path).unwrap(), known);
        }
    }
}

fn tests_of(source: &str, known: &mut BTreeSet<String>) {
    let mut marked = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line
            .strip_prefix("fn ")
            .or_else(|| line.strip_prefix("async fn "))
        {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if std::mem::take(&mut marked) {
                known.insert(name.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("def test_") {
            known.insert(format!(
                "test_{}",
                rest.split('(').next().unwrap_or_default()
            ));
        }
    }
}
