//! What each checker is asked, and what it found.

use std::process::Output;

use serde::Deserialize;

use super::programs::Bench;
use crate::failure::Failure;

/// Parses a file and looks for `run`; prints what it found as JSON.
const PYTHON: &str = include_str!("check.py");

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Finding {
    #[serde(skip)]
    pub(super) by: &'static str,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) message: String,
}

/// What was checked, what could not be, and what was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) done: Vec<String>,
    pub(super) not_done: Vec<(String, String)>,
    pub(super) found: Vec<Finding>,
}

impl Report {
    fn missing(&mut self, what: &str, program: &str, hint: &str) {
        let text = format!("{what} were not checked: `{program}` is not installed for every user");
        self.not_done.push((text, hint.to_owned()));
    }
}

pub(super) async fn python(bench: &Bench) -> Result<Report, Failure> {
    let mut report = Report::default();
    let arguments = ["-I", "-S", "-c", PYTHON, bench.file];
    let Some(parsed) = bench.run("python3", &arguments).await? else {
        report.missing("names and spelling", "python3", "apt-get install python3");
        return Ok(report);
    };
    let found: Vec<Finding> =
        serde_json::from_slice(&parsed.stdout).map_err(|_| unreadable("python3", &parsed))?;
    report.done.push("parsed by python3".to_owned());
    report.found = found
        .into_iter()
        .map(|finding| Finding {
            by: "python3",
            ..finding
        })
        .collect();
    if !report.found.is_empty() {
        // What cannot be parsed has no types.
        return Ok(report);
    }
    let arguments = [
        // Not the directory's own: a configuration can name plugins, which are code.
        "--config-file=",
        "--cache-dir=/dev/null",
        "--python-version=3.11",
        "--ignore-missing-imports",
        "--follow-imports=silent",
        "--check-untyped-defs",
        "--show-column-numbers",
        "--no-error-summary",
        "--no-color-output",
        "--no-pretty",
        "--hide-error-context",
        bench.file,
    ];
    let Some(typed) = bench.run("mypy", &arguments).await? else {
        report.missing("types", "mypy", "pip install mypy");
        return Ok(report);
    };
    // 0: nothing found, 1: something found.
    if !matches!(typed.status.code(), Some(0 | 1)) {
        return Err(unreadable("mypy", &typed));
    }
    report.done.push("types checked by mypy".to_owned());
    let text = String::from_utf8_lossy(&typed.stdout);
    report
        .found
        .extend(text.lines().filter_map(|line| mypy(line, bench.file)));
    Ok(report)
}

pub(super) async fn javascript(bench: &Bench) -> Result<Report, Failure> {
    let mut report = Report::default();
    let Some(parsed) = bench.run("node", &["--check", bench.file]).await? else {
        report.missing("spelling and syntax", "node", "apt-get install nodejs");
        return Ok(report);
    };
    report.done.push("parsed by node".to_owned());
    if !parsed.status.success() {
        let text = String::from_utf8_lossy(&parsed.stderr);
        report.found.push(node(&text));
    }
    Ok(report)
}

pub(super) async fn bash(bench: &Bench) -> Result<Report, Failure> {
    let mut report = Report::default();
    let arguments = ["--norc", "--noprofile", "-n", bench.file];
    let Some(parsed) = bench.run("bash", &arguments).await? else {
        report.missing("spelling and syntax", "bash", "apt-get install bash");
        return Ok(report);
    };
    report.done.push("parsed by bash".to_owned());
    let text = String::from_utf8_lossy(&parsed.stderr);
    report
        .found
        .extend(text.lines().filter_map(|line| shell(line, bench.file)));
    if report.found.is_empty() && !parsed.status.success() {
        return Err(unreadable("bash", &parsed));
    }
    Ok(report)
}

/// `tool.py:3:5: error: …  [code]`; notes belong to the error before them.
fn mypy(line: &str, file: &str) -> Option<Finding> {
    let mut parts = line.strip_prefix(file)?.strip_prefix(':')?.splitn(3, ':');
    let number = parts.next()?.trim().parse().ok()?;
    let column = parts.next()?.trim().parse().ok()?;
    let message = parts.next()?.trim().strip_prefix("error:")?.trim();
    Some(Finding {
        by: "mypy",
        line: number,
        column,
        message: message.to_owned(),
    })
}

/// `/tmp/x/tool.js:3`, the line itself, a row of carets, and then the error.
fn node(text: &str) -> Finding {
    let first = text.lines().next().unwrap_or_default();
    let line = first.rsplit(':').next().and_then(|line| line.parse().ok());
    let caret = text.lines().find_map(|line| {
        let at = line.find('^')?;
        let carets = line.trim().bytes().all(|byte| byte == b'^');
        carets.then_some(at.saturating_add(1))
    });
    let error = text.lines().find(|line| line.contains("Error: "));
    Finding {
        by: "node",
        line: line.unwrap_or_default(),
        column: caret
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or_default(),
        message: error.unwrap_or("it cannot be parsed").to_owned(),
    }
}

/// `tool.sh: line 3: syntax error …`
fn shell(line: &str, file: &str) -> Option<Finding> {
    let rest = line.strip_prefix(file)?.strip_prefix(": line ")?;
    let (number, message) = rest.split_once(": ")?;
    Some(Finding {
        by: "bash",
        line: number.parse().ok()?,
        column: 0,
        message: message.to_owned(),
    })
}

fn unreadable(program: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing");
    Failure::Failed {
        message: format!(
            "`{program}` could not check the code ({}): {last}",
            output.status
        ),
        hint: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(finding: &Finding) -> (u64, u64, &str) {
        (finding.line, finding.column, finding.message.as_str())
    }

    #[test]
    fn what_checkers_print_is_read() {
        let line = r#"tool.py:3:12: error: Incompatible return value: got "int"  [return-value]"#;
        let found = mypy(line, "tool.py").unwrap();
        let message = r#"Incompatible return value: got "int"  [return-value]"#;
        assert_eq!(place(&found), (3, 12, message));
        assert_eq!(mypy("tool.py:3:1: note: See this", "tool.py"), None);
        assert_eq!(mypy("other.py:3:1: error: no", "tool.py"), None);
        let text = "/tmp/x/tool.js:2\n  let = 1;\n      ^\n\nSyntaxError: Unexpected token '='\n    at x\n";
        assert_eq!(
            place(&node(text)),
            (2, 7, "SyntaxError: Unexpected token '='")
        );
        let line = "tool.sh: line 4: syntax error near unexpected token `done'";
        let found = shell(line, "tool.sh").unwrap();
        assert_eq!(
            place(&found),
            (4, 0, "syntax error near unexpected token `done'")
        );
    }
}
