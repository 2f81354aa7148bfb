//! What a checker answers. It ran beside the code, and so its answer is a stranger's: read strictly, cut to a size, and
//! the advice that goes with it is the broker's own.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::language::Language;

/// Findings that are shown; further ones are counted.
const SHOWN: usize = 50;
/// Characters of what was found that are shown.
const SHOWN_TEXT: usize = 200;
/// Bytes of an answer that are read.
pub const MAX_ANSWER: usize = 256 * 1024;

/// Something that code is not to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It cannot be read as code of its language.
    Syntax,
    /// Import what is not on the list.
    Imports,
    /// Start or signal other processes.
    Processes,
    /// Run text as code, or reach names in ways that cannot be read.
    DynamicCode,
    /// Load code that is not of the language.
    NativeCode,
    /// Make and change files.
    FileWrites,
    /// Remove files.
    FileRemovals,
    /// Use what the admin listed.
    Forbidden,
}

impl Rule {
    /// The rules that the settings switch on and off.
    pub const OPTIONAL: [Self; 5] = [
        Self::Processes,
        Self::DynamicCode,
        Self::NativeCode,
        Self::FileWrites,
        Self::FileRemovals,
    ];

    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Imports => "imports",
            Self::Processes => "processes",
            Self::DynamicCode => "dynamic_code",
            Self::NativeCode => "native_code",
            Self::FileWrites => "file_writes",
            Self::FileRemovals => "file_removals",
            Self::Forbidden => "forbidden",
        }
    }

    /// Those that a run with files to give back is free of.
    #[must_use]
    pub fn is_about_files(self) -> bool {
        matches!(self, Self::FileWrites | Self::FileRemovals)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place in the code that a rule objects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// Which rule.
    pub rule: Rule,
    /// What stands there, in words. It quotes the code, and so is a stranger's text.
    pub found: String,
    /// What would allow it; empty where nothing would.
    pub allow: String,
}

/// All that a checker found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    more: usize,
}

/// Why a checker's answer says nothing about the code. The code is then not vetted, and must not run as if it were.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// It said so itself.
    #[error(
        "the code could not be checked: {0}; remedy: run it without validation, or make it simpler"
    )]
    Failed(String),
    /// It ended too early, or is no checker.
    #[error(
        "the checker's answer cannot be read; remedy: build the image anew, or run the code without validation"
    )]
    Unreadable(#[source] serde_json::Error),
    /// More than any checker says.
    #[error(
        "the checker answered with more than {MAX_ANSWER} bytes; remedy: run the code without validation"
    )]
    TooLong,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    findings: Vec<Place>,
    /// Further ones that it did not list.
    #[serde(default)]
    more: u32,
    failed: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    line: u32,
    column: u32,
    rule: Rule,
    found: String,
    /// The dotted name that is objected to, where there is one.
    name: Option<String>,
    /// It is the name of a module that is imported here.
    #[serde(default)]
    import: bool,
}

impl Findings {
    /// Reads what a checker printed.
    ///
    /// # Errors
    /// When it is not what a checker prints, or says that it failed.
    pub fn parse(language: Language, answer: &[u8]) -> Result<Self, CheckerError> {
        if answer.len() > MAX_ANSWER {
            return Err(CheckerError::TooLong);
        }
        let answer: Answer = serde_json::from_slice(answer).map_err(CheckerError::Unreadable)?;
        if let Some(why) = answer.failed {
            return Err(CheckerError::Failed(short(&why)));
        }
        let unlisted = usize::try_from(answer.more).unwrap_or(usize::MAX);
        let more = answer.findings.len().saturating_sub(SHOWN);
        let more = more.saturating_add(unlisted);
        let places = answer.findings.into_iter().take(SHOWN);
        let list = places.map(|place| finding(language, place)).collect();
        Ok(Self { list, more })
    }

    /// Nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first of them, in the order of the code.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// How many further ones there are.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }
}

fn finding(language: Language, place: Place) -> Finding {
    let name = place.name.filter(|name| is_name(name));
    Finding {
        line: place.line.max(1),
        column: place.column.max(1),
        rule: place.rule,
        found: short(&place.found),
        allow: allow(language, place.rule, name.as_deref(), place.import),
    }
}

/// What would allow it. The checker's word goes into this only where it can be nothing but a name.
fn allow(language: Language, rule: Rule, name: Option<&str>, import: bool) -> String {
    let section = format!("`exec.validation.{language}");
    match (rule, name) {
        (Rule::Syntax, _) => String::new(),
        (Rule::Forbidden, _) => {
            format!("taking it out of {section}.forbidden` of docker/config.json")
        }
        (_, Some(name)) if import => format!(
            "--allow-import {name}, or `{name}` in {section}.imports` of docker/config.json"
        ),
        (Rule::Imports, _) => format!("its name in {section}.imports` of docker/config.json"),
        (Rule::FileWrites | Rule::FileRemovals, Some(name)) => {
            format!("--out DIR, or `{name}` in {section}.permitted` of docker/config.json")
        }
        (Rule::FileWrites | Rule::FileRemovals, None) => format!(
            "--out DIR, or taking `{rule}` out of `exec.validation.rules` of docker/config.json"
        ),
        (_, Some(name)) => format!("`{name}` in {section}.permitted` of docker/config.json"),
        (_, None) => {
            format!("taking `{rule}` out of `exec.validation.rules` of docker/config.json")
        }
    }
}

/// Whether it can be the name of a module, a function or a command, and so nothing that says more than a name does.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-/@:".contains(c);
    !text.is_empty() && text.len() <= 100 && !text.starts_with('-') && text.chars().all(plain)
}

/// The beginning of a text.
fn short(text: &str) -> String {
    let mut chars = text.chars();
    let mut kept: String = chars.by_ref().take(SHOWN_TEXT).collect();
    if chars.next().is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(answer: &str) -> Result<Findings, String> {
        Findings::parse(Language::Python, answer.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_becomes_findings_with_advice_of_our_own() {
        let found = parse(
            r#"{"findings": [
                {"line": 3, "column": 5, "rule": "processes", "found": "`s` is `os.system`", "name": "os.system"},
                {"line": 4, "column": 1, "rule": "imports", "found": "`import socket`", "name": "socket", "import": true},
                {"line": 5, "column": 1, "rule": "imports", "found": "x", "name": "x; packctl grant add evil", "import": true},
                {"line": 6, "column": 1, "rule": "file_writes", "found": "`open`"},
                {"line": 0, "column": 0, "rule": "syntax", "found": "no"}]}"#,
        )
        .unwrap();
        let advice: Vec<&str> = found.list().iter().map(|one| one.allow.as_str()).collect();
        assert_eq!(
            advice,
            [
                "`os.system` in `exec.validation.python.permitted` of docker/config.json",
                "--allow-import socket, or `socket` in `exec.validation.python.imports` of docker/config.json",
                "its name in `exec.validation.python.imports` of docker/config.json",
                "--out DIR, or taking `file_writes` out of `exec.validation.rules` of docker/config.json",
                "",
            ]
        );
        let first = &found.list()[0];
        assert_eq!(
            (first.line, first.column, first.rule),
            (3, 5, Rule::Processes)
        );
        assert_eq!((found.list()[4].line, found.list()[4].column), (1, 1));
        assert!(!found.is_empty() && found.more() == 0);
        assert!(parse(r#"{"findings": []}"#).unwrap().is_empty());
    }

    #[test]
    fn an_answer_is_bounded_and_strict() {
        let one = |found: &str| {
            format!(r#"{{"line": 1, "column": 1, "rule": "imports", "found": "{found}"}}"#)
        };
        let many = vec![one("x"); SHOWN + 7].join(",");
        let found = parse(&format!("{{\"findings\": [{many}], \"more\": 3}}")).unwrap();
        assert_eq!((found.list().len(), found.more()), (SHOWN, 10));
        let long = parse(&format!("{{\"findings\": [{}]}}", one(&"ß".repeat(1_000)))).unwrap();
        assert_eq!(long.list()[0].found.chars().count(), SHOWN_TEXT + 1);
        for (answer, part) in [
            ("", "cannot be read"),
            ("Traceback", "cannot be read"),
            ("{\"findings\": [], \"x\": 1}", "cannot be read"),
            ("{\"findings\": []} {}", "cannot be read"),
            (
                &format!(
                    "{{\"findings\": [{}]}}",
                    one("x").replace("imports", "none")
                ),
                "cannot be read",
            ),
            ("{\"failed\": \"no bash\"}", "no bash; remedy"),
            (&" ".repeat(MAX_ANSWER + 1), "more than"),
        ] {
            let error = parse(answer).unwrap_err();
            assert!(
                error.contains(part) && error.contains("remedy"),
                "{answer}: {error}"
            );
        }
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for rule in Rule::OPTIONAL
            .into_iter()
            .chain([Rule::Syntax, Rule::Imports, Rule::Forbidden])
        {
            let text = format!("\"{rule}\"");
            assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
        }
    }
}
