//! `packctl grant lint`

use rumi_policy::{Grant, PolicySet, Problem};
use serde::Serialize;

use super::{
    commands,
    directories::{self, Remark},
    handlers, network, values,
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::Table,
    policy_files,
};

/// Look for mistakes in all grants and scopes
///
/// Errors make the exit code 1. Warnings are about what is valid and still may
/// not do what was meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Lint {}

/// One thing to look at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: &'static str,
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Lint {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let findings = findings(context)?;
        context.out.list(&findings, table)?;
        for finding in &findings {
            context
                .console
                .hint(&format!("`{}`: {}", finding.file, finding.remedy));
        }
        let errors = findings.iter().filter(|one| one.level == "error").count();
        if findings.is_empty() {
            context.console.say("no mistakes found");
        }
        if errors > 0 {
            return Err(Failure::Said(Exit::Failed));
        }
        Ok(())
    }
}

/// Everything odd about the policy files of this home directory.
pub(crate) fn findings(context: &Context) -> Result<Vec<Finding>, Failure> {
    let source = policy_files::source(context)?;
    let grants = source.grants.clone();
    let set = PolicySet::compile(source);
    let mut findings: Vec<Finding> = set.problems().iter().map(Finding::error).collect();
    for file in &grants {
        let Some(component) = set
            .components()
            .find(|component| component.grant_file() == file.name)
        else {
            continue;
        };
        let mut remarks: Vec<Remark> = values::directories(&file.bytes)
            .iter()
            .filter_map(|directory| directories::remark(directory))
            .collect();
        remarks.extend(directories::unknown(context, component)?);
        remarks.extend(set.grant(component).and_then(passthrough));
        let terminal = set.grant(component).and_then(Grant::terminal);
        remarks.extend(terminal.into_iter().flat_map(commands::remarks));
        let granted = set.grant(component).and_then(Grant::network);
        remarks.extend(granted.into_iter().flat_map(network::remarks));
        for handler in set
            .grant(component)
            .into_iter()
            .flat_map(|grant| grant.custom().keys())
        {
            remarks.extend(handlers::missing(context, handler)?);
        }
        for remark in remarks {
            findings.push(Finding::warning(&file.name, remark));
        }
    }
    Ok(findings)
}

/// What the kernel reads by itself the broker does not see, and that should be meant.
fn passthrough(grant: &Grant) -> Option<Remark> {
    let passed = grant.file_read()?.passthrough == Some(true);
    passed.then(|| Remark {
        message: "`passthrough` lets files that are open below /files be read uncounted, and beyond a revocation until whoever opened them ends".to_owned(),
        remedy: "take `passthrough` out of file_read unless the speed is needed".to_owned(),
    })
}

impl Finding {
    fn error(problem: &Problem) -> Self {
        Self {
            level: "error",
            file: problem.file.clone(),
            line: problem.line,
            field: problem.field.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        }
    }

    fn warning(name: &str, remark: Remark) -> Self {
        Self {
            level: "warning",
            file: format!("grants/{name}"),
            line: None,
            field: None,
            message: remark.message,
            remedy: remark.remedy,
        }
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["level", "file", "line", "field", "message"]);
    for finding in findings {
        table.row([
            finding.level.to_owned(),
            finding.file.clone(),
            finding
                .line
                .map(|line| line.to_string())
                .unwrap_or_default(),
            finding.field.clone().unwrap_or_default(),
            finding.message.clone(),
        ]);
    }
    table
}
