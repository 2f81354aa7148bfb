//! What came of a run.

use std::io::{self, IsTerminal as _, Write as _};

use rumi_proto::v1::{ExecFinding, ExecResponse};
use serde_json::json;

use crate::{
    commands::call::shown::explain,
    context::Context,
    failure::{Exit, Failure},
    json_text::Layout,
    output::Format,
};

/// What was asked for, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Figures as well.
    pub(super) verbose: bool,
    /// Nobody named the language.
    pub(super) guessed: bool,
}

/// Prints it, and gives the exit code of packctl.
pub(super) fn all(context: &mut Context, reply: ExecResponse, asked: Asked) -> Result<(), Failure> {
    match context.out.format() {
        Format::Table => as_text(context, &reply, asked)?,
        Format::Json => as_json(context, &reply, Layout::Pretty)?,
        Format::Jsonl => as_json(context, &reply, Layout::Compact)?,
    }
    let found = !reply.findings.is_empty();
    let checked = only_checked(&reply);
    let ended_well = reply.exit_code == Some(0) && reply.stopped_reason.is_empty();
    let ended_well = (ended_well || checked) && !found;
    if ended_well && reply.error.is_empty() {
        return Ok(());
    }
    Err(Failure::Said(Exit::Failed))
}

fn as_text(context: &mut Context, reply: &ExecResponse, asked: Asked) -> Result<(), Failure> {
    let console = context.console;
    if io::stdout().is_terminal() {
        for line in String::from_utf8_lossy(&reply.stdout).lines() {
            context.out.line(line)?;
        }
    } else {
        context.out.bytes(&reply.stdout)?;
    }
    context.out.flush()?;
    if console.is_terminal() {
        for line in String::from_utf8_lossy(&reply.stderr).lines() {
            console.say(line);
        }
    } else {
        // Nobody is left to be told when stderr itself is gone.
        io::stderr().write_all(&reply.stderr).unwrap_or_default();
    }
    for finding in &reply.findings {
        console.labelled("found", "31", &found(finding));
        if !finding.allow.is_empty() {
            console.hint(&finding.allow);
        }
    }
    if !reply.findings.is_empty() {
        let more = reply.more_findings;
        console.error(&format!(
            "the code was not run as {} ({}){}",
            reply.language,
            reply.language_reason,
            if more > 0 {
                format!("; {more} further findings are not shown")
            } else {
                String::new()
            }
        ));
    }
    if !reply.error.is_empty() {
        console.error(&reply.error);
    }
    if let Some(text) = stopped(&reply.stopped_reason) {
        console.warning(text);
    } else if let Some(code @ 1..) = reply.exit_code {
        console.warning(&format!("the code ended with exit code {code}"));
    }
    if asked.guessed && looks_misread(reply) {
        console.hint(&format!(
            "it was taken for {} ({}); if it is something else, name it with --lang",
            reply.language, reply.language_reason
        ));
    }
    if reply.files_left_out > 0 {
        console.warning(&format!(
            "{} entries of the working directory did not come out: too large, too many, or no files",
            reply.files_left_out
        ));
    }
    for denial in &reply.denials {
        explain(console, denial);
    }
    if asked.verbose {
        console.labelled("note", "36", &figures(reply));
    }
    Ok(())
}

/// Whether it failed as code fails that is read in a language that it is not written in.
fn looks_misread(reply: &ExecResponse) -> bool {
    if reply
        .findings
        .iter()
        .any(|finding| finding.rule == "syntax")
    {
        return true;
    }
    let said = String::from_utf8_lossy(&reply.stderr);
    let complaints = ["SyntaxError", "syntax error", "command not found"];
    reply.exit_code.is_some_and(|code| code != 0)
        && complaints.iter().any(|complaint| said.contains(complaint))
}

fn found(finding: &ExecFinding) -> String {
    format!(
        "line {}, column {}: {} ({})",
        finding.line, finding.column, finding.found, finding.rule
    )
}

fn figures(reply: &ExecResponse) -> String {
    format!(
        "{} ({}) in {} ms, {} ms of processor time, {} KiB of memory at most (record {})",
        reply.language,
        reply.language_reason,
        reply.duration_us / 1000,
        reply.cpu_time_us / 1000,
        reply.memory_peak_bytes / 1024,
        reply.record
    )
}

/// Neither an end nor anything that could have prevented one: it was only looked through.
fn only_checked(reply: &ExecResponse) -> bool {
    reply.exit_code.is_none() && reply.stopped_reason.is_empty() && reply.error.is_empty()
}

/// What is to be said about how a run ended; nothing where it ended by itself.
fn stopped(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "" => return None,
        "timeout" => "the run was stopped: its time was up (--time)",
        "memory" => "the run was stopped: it used more memory than it may (--memory)",
        "output" => "the run was stopped: it printed more than it may; the rest was dropped",
        "pids" => "the run was stopped: it made more processes than it may",
        "killed" => "a signal ended the run",
        _ => "the run was stopped for a reason that this packctl does not know",
    })
}

fn as_json(context: &mut Context, reply: &ExecResponse, layout: Layout) -> Result<(), Failure> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let files: Vec<_> = reply.files.iter().map(|file| &file.name).collect();
    let denials: Vec<_> = reply
        .denials
        .iter()
        .map(|denial| {
            json!({
                "record": denial.record,
                "permission": denial.permission,
                "target": denial.target,
                "reason": denial.reason,
                "remedy": denial.remedy,
            })
        })
        .collect();
    let findings: Vec<_> = reply
        .findings
        .iter()
        .map(|finding| {
            json!({
                "line": finding.line,
                "column": finding.column,
                "rule": finding.rule,
                "found": finding.found,
                "allow": finding.allow,
            })
        })
        .collect();
    let value = json!({
        "findings": findings,
        "more_findings": reply.more_findings,
        "exit_code": reply.exit_code,
        "stdout": text(&reply.stdout),
        "stderr": text(&reply.stderr),
        "duration_ms": reply.duration_us / 1000,
        "cpu_time_ms": reply.cpu_time_us / 1000,
        "memory_peak_bytes": reply.memory_peak_bytes,
        "truncated": reply.truncated,
        "stopped_reason": Some(&reply.stopped_reason).filter(|reason| !reason.is_empty()),
        "error": Some(&reply.error).filter(|error| !error.is_empty()),
        "language": reply.language,
        "language_reason": reply.language_reason,
        "record": reply.record,
        "container_id": reply.container_id,
        "files": files,
        "files_left_out": reply.files_left_out,
        "denials": denials,
    });
    context.out.json(&value, layout)?;
    context.out.flush()
}
