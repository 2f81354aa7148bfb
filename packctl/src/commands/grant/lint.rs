//! `packctl grant lint`

use std::{fs, time::UNIX_EPOCH};

use rumi_policy::{ComponentId, Grant, PolicySet, Problem};
use serde::Serialize;

use super::{
    commands,
    directories::{self, Remark},
    handlers, history, network, now, shadowed,
    uses::Uses,
    values, wide,
};
use crate::{
    commands::audit::Source,
    context::Context,
    failure::{Exit, Failure},
    moment::{self, Moment},
    output::Table,
    policy_files,
};

/// Look for mistakes in all grants and scopes
///
/// Errors make the exit code 1. Warnings are about what is valid and still may
/// not do what was meant: too wide, never used, expired, or shadowed by another
/// entry or a scope.
#[derive(Debug, clap::Args)]
pub(crate) struct Lint {
    /// A permission that was not used for this long is reported (`12h`, `30d`)
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
    unused: i64,

    #[command(flatten)]
    source: Source,
}

fn age(text: &str) -> Result<i64, String> {
    moment::span_ms(text).ok_or_else(|| format!("`{text}` is no length of time, such as `30d`"))
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A file or a field that is not valid.
    Invalid,
    /// It may not do what was meant.
    Odd,
    TooWide,
    NeverUsed,
    Expired,
    /// Another entry covers it.
    Shadowed,
    /// A scope forbids it anyway.
    Forbidden,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Odd => "odd",
            Self::TooWide => "too_wide",
            Self::NeverUsed => "never_used",
            Self::Expired => "expired",
            Self::Shadowed => "shadowed",
            Self::Forbidden => "forbidden",
        }
    }
}

/// One thing to look at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: &'static str,
    pub(crate) kind: Kind,
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) field: Option<String>,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Lint {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let mut findings = findings(context)?;
        findings.extend(self.unused(context)?);
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

    /// Permissions that were granted before then and not used since. Without a log nothing is
    /// known of that.
    fn unused(&self, context: &Context) -> Result<Vec<Finding>, Failure> {
        let since = Moment::ago_ms(self.unused);
        let uses = match Uses::read(&self.source, context, history::filter(Some(since), None)) {
            Ok(uses) => uses,
            Err(Failure::NotFound { .. }) if !self.source.is_named() => return Ok(Vec::new()),
            Err(failure @ Failure::Files { .. }) => {
                let what = "what was never used is not known";
                context.console.warning(&format!("{what}: {failure}"));
                return Ok(Vec::new());
            }
            Err(other) => return Err(other),
        };
        let source = policy_files::source(context)?;
        let mut findings = Vec::new();
        for file in &source.grants {
            let Some(component) = component_of(&file.name, &file.bytes) else {
                continue;
            };
            let path = context.grants()?.join(&file.name);
            if changed_after(&path, since) {
                continue;
            }
            for row in values::rows(component.as_str(), &file.bytes) {
                if row.enabled && uses.of(component.as_str(), &row.permission).count == 0 {
                    let remark = Remark {
                        message: format!("`{}` was not used for {}", row.permission, self.span()),
                        remedy: format!("packctl grant rm {component} {}", row.permission),
                    };
                    findings.push(Finding::warning(&file.name, Kind::NeverUsed, remark));
                }
            }
        }
        Ok(findings)
    }

    fn span(&self) -> String {
        let now = Moment::now();
        Moment::ago_ms(self.unused).ago(now)
    }
}

/// The component of a grant that is valid.
fn component_of(name: &str, bytes: &[u8]) -> Option<ComponentId> {
    Grant::parse(name, bytes)
        .ok()
        .map(|grant| grant.component().clone())
}

/// A grant that is younger than that has had no time to be used.
fn changed_after(path: &std::path::Path, since: Moment) -> bool {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = changed
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let ms = age.and_then(|age| u64::try_from(age.as_millis()).ok());
    ms.is_none_or(|ms| Moment::from_unix_ms(ms) > since)
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
        let Some(grant) = set.grant(component) else {
            continue;
        };
        let odd = odd(context, component, grant, &file.bytes)?;
        let mut found: Vec<(Kind, Remark)> = odd.into_iter().map(|one| (Kind::Odd, one)).collect();
        let mut add = |kind: Kind, remarks: Vec<Remark>| {
            found.extend(remarks.into_iter().map(|remark| (kind, remark)));
        };
        add(Kind::TooWide, wide::remarks(grant));
        add(Kind::TooWide, passthrough(grant).into_iter().collect());
        add(
            Kind::TooWide,
            grant.terminal().map(commands::remarks).unwrap_or_default(),
        );
        add(
            Kind::TooWide,
            grant.network().map(network::too_wide).unwrap_or_default(),
        );
        add(Kind::Expired, expired(grant));
        add(Kind::Shadowed, shadowed::covered(grant));
        add(Kind::Forbidden, shadowed::forbidden(&set, component, grant));
        for (kind, remark) in found {
            findings.push(Finding::warning(&file.name, kind, remark));
        }
    }
    Ok(findings)
}

/// What is valid and may still not do what was meant.
fn odd(
    context: &Context,
    component: &ComponentId,
    grant: &Grant,
    bytes: &[u8],
) -> Result<Vec<Remark>, Failure> {
    let directories = values::directories(bytes);
    let mut remarks: Vec<Remark> = directories
        .iter()
        .filter_map(|directory| directories::remark(directory))
        .collect();
    let files = values::files(bytes);
    remarks.extend(
        files
            .iter()
            .filter_map(|file| directories::file_remark(file)),
    );
    remarks.extend(directories::unknown(context, component)?);
    remarks.extend(grant.network().and_then(network::narrowed));
    for handler in grant.custom().keys() {
        remarks.extend(handlers::missing(context, handler)?);
    }
    Ok(remarks)
}

/// Permissions whose time is over.
fn expired(grant: &Grant) -> Vec<Remark> {
    let mut found = Vec::new();
    let mut look = |permission: String, conditions: &rumi_policy::Conditions| {
        if let Some(end) = conditions.expires_at().filter(|end| now() >= end.millis()) {
            let component = grant.component();
            found.push(Remark {
                message: format!("`{permission}` has expired at {end}"),
                remedy: format!(
                    "packctl grant rm {component} {permission}, or extend `expires_at`"
                ),
            });
        }
    };
    let name = |permission: rumi_policy::Permission| permission.to_string();
    if let Some(file) = grant.file_read() {
        look(name(rumi_policy::Permission::FileRead), &file.conditions);
    }
    if let Some(file) = grant.file_write() {
        look(name(rumi_policy::Permission::FileWrite), &file.conditions);
    }
    if let Some(env) = grant.env_read() {
        look(name(rumi_policy::Permission::EnvRead), &env.conditions);
    }
    if let Some(terminal) = grant.terminal() {
        look(
            name(rumi_policy::Permission::Terminal),
            &terminal.conditions,
        );
    }
    if let Some(network) = grant.network() {
        look(name(rumi_policy::Permission::Network), &network.conditions);
    }
    for (handler, custom) in grant.custom() {
        look(handler.to_string(), &custom.conditions);
    }
    found
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
            kind: Kind::Invalid,
            file: problem.file.clone(),
            line: problem.line,
            field: problem.field.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        }
    }

    fn warning(name: &str, kind: Kind, remark: Remark) -> Self {
        Self {
            level: "warning",
            kind,
            file: format!("grants/{name}"),
            line: None,
            field: None,
            message: remark.message,
            remedy: remark.remedy,
        }
    }
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["level", "kind", "file", "line", "field", "message"]);
    for finding in findings {
        table.row([
            finding.level.to_owned(),
            finding.kind.as_str().to_owned(),
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
