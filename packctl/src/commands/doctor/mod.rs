//! `packctl doctor`

mod host;

use rumi_policy::PolicySet;
use rumi_proto::v1::DoctorRequest;
use serde::Serialize;

use crate::{
    broker,
    context::Context,
    failure::{Exit, Failure},
    output::{Format, Table},
    policy_files,
};

/// Look for what is wrong, and say what to do about it
///
/// Asks the broker. Where it cannot be reached, checks what can be checked
/// without it and exits with 5. Errors make the exit code 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    level: Level,
    subject: String,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

impl Finding {
    fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, message, "")
    }

    fn warning(subject: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Warning, subject, message, remedy)
    }

    fn error(subject: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Level::Error, subject, message, remedy)
    }

    fn new(
        level: Level,
        subject: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

impl Doctor {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let (findings, reached) = match ask(context) {
            Ok(findings) => (findings, true),
            Err(Failure::Unreachable { hint, source, .. }) => {
                let mut findings = vec![Finding::error(
                    "broker",
                    format!(
                        "it does not answer on `{}`: {source}",
                        context.control_socket().display()
                    ),
                    hint,
                )];
                findings.extend(host::findings());
                findings.extend(policy(context));
                (findings, false)
            }
            Err(other) => return Err(other),
        };
        show(context, &findings)?;
        if !reached {
            return Err(Failure::Said(Exit::Unreachable));
        }
        if findings.iter().any(|finding| finding.level == Level::Error) {
            return Err(Failure::Said(Exit::Failed));
        }
        Ok(())
    }
}

fn ask(context: &mut Context) -> Result<Vec<Finding>, Failure> {
    broker::converse(context, async |mut client, _| {
        let reply = client
            .doctor(broker::question(DoctorRequest {}))
            .await
            .map_err(|status| broker::refused(&status))?
            .into_inner();
        Ok(reply
            .findings
            .into_iter()
            .map(|finding| Finding {
                level: match finding.level.as_str() {
                    "ok" => Level::Ok,
                    "warning" => Level::Warning,
                    // A level this version does not know is better seen than missed.
                    _ => Level::Error,
                },
                subject: finding.subject,
                message: finding.message,
                remedy: finding.remedy,
            })
            .collect())
    })
}

/// What is wrong with grants and scopes.
fn policy(context: &Context) -> Vec<Finding> {
    let source = match policy_files::source(context) {
        Ok(source) => source,
        Err(failure) => {
            return vec![Finding::error(
                "policy",
                failure.to_string(),
                "name the directory that holds docker/, grants/ and scopes/ with --home DIR",
            )];
        }
    };
    let set = PolicySet::compile(source);
    if set.problems().is_empty() {
        return vec![Finding::ok(
            "policy",
            format!(
                "all files are valid; components with a grant: {}",
                set.components().count()
            ),
        )];
    }
    set.problems()
        .iter()
        .map(|problem| {
            let place = match (problem.line, &problem.field) {
                (Some(line), _) => format!("line {line}: "),
                (None, Some(field)) => format!("field `{field}`: "),
                (None, None) => String::new(),
            };
            Finding::error(
                &problem.file,
                format!("{place}{}", problem.message),
                problem.remedy.clone(),
            )
        })
        .collect()
}

fn show(context: &mut Context, findings: &[Finding]) -> Result<(), Failure> {
    if context.out.format() != Format::Table {
        return context.out.list(findings, |_| Table::new(&[]));
    }
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        context.out.line(&format!(
            "{level:8} {}: {}",
            finding.subject, finding.message
        ))?;
        if !finding.remedy.is_empty() {
            context
                .out
                .line(&format!("         hint: {}", finding.remedy))?;
        }
    }
    context.out.flush()
}
