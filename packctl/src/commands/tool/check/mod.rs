//! `packctl tool check NAME|FILE`

mod findings;
mod programs;

use std::path::Path;

use rumi_policy::manifest::Runner;
use serde::Serialize;

use self::{
    findings::{Finding, Report},
    programs::Bench,
};
use super::{name::ToolName, place};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    output::Table,
};

/// Check a tool's code without running it
///
/// Reads it with what is installed on this host: Python's own parser and mypy for the types,
/// node, bash. These run as the user `nobody`, with an empty environment. Where one is missing
/// it is said what was not checked. Anything found makes the exit code 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Name of a tool that was added, or a file
    #[arg(value_name = "NAME|FILE")]
    what: String,

    /// What would run the file, where its name does not say it
    #[arg(long, value_name = "RUNNER")]
    runner: Option<Runner>,
}

#[derive(Debug, Serialize)]
struct Row {
    by: &'static str,
    line: u64,
    column: u64,
    message: String,
}

/// What is checked.
struct Checked {
    code: Vec<u8>,
    language: Language,
}

/// What is checked by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    JavaScript,
    Bash,
}

impl Check {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let checked = self.find(context)?;
        let sdk = context
            .home()
            .ok()
            .map(|home| home.join("docker/sdk/python"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::files("start the event loop for", "checks"))?;
        let report = runtime.block_on(async {
            let bench = Bench::new(&checked.code, checked.language.file(), sdk.as_deref())?;
            match checked.language {
                Language::Python => findings::python(&bench).await,
                Language::JavaScript => findings::javascript(&bench).await,
                Language::Bash => findings::bash(&bench).await,
            }
        })?;
        show(context, report)
    }

    /// A file is meant where there is one of that name, or where no tool could be called so.
    fn find(&self, context: &Context) -> Result<Checked, Failure> {
        let path = Path::new(&self.what);
        let name: Option<ToolName> = self.what.parse().ok();
        if let Some(name) = name.filter(|_| !path.is_file()) {
            let added = place::Place::new(context, &name)?.read()?;
            return Ok(Checked {
                language: Language::of(added.tool.runner.as_str(), &self.what)?,
                code: added.code,
            });
        }
        let code = place::code(Some(&self.what), None)?;
        let ending = path.extension().and_then(|ending| ending.to_str());
        let runner = match &self.runner {
            Some(runner) => runner.as_str(),
            None => match ending {
                Some("js" | "cjs" | "mjs") => "javascript",
                Some("sh" | "bash") => "bash",
                _ => "python",
            },
        };
        let language = Language::of(runner, &self.what)?;
        Ok(Checked { code, language })
    }
}

impl Language {
    fn of(runner: &str, what: &str) -> Result<Self, Failure> {
        match runner {
            "python" => Ok(Self::Python),
            "javascript" => Ok(Self::JavaScript),
            "bash" => Ok(Self::Bash),
            other => Err(Failure::Failed {
                message: format!("`{what}` is run by `{other}`, whose code packctl cannot check"),
                hint: "python, javascript and bash can be checked".to_owned(),
            }),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Python => "tool.py",
            Self::JavaScript => "tool.js",
            Self::Bash => "tool.sh",
        }
    }
}

fn show(context: &mut Context, report: Report) -> Result<(), Failure> {
    for line in &report.done {
        context.console.say(line);
    }
    for (missing, hint) in &report.not_done {
        context.console.warning(missing);
        context.console.hint(hint);
    }
    let rows: Vec<Row> = report.found.into_iter().map(Row::of).collect();
    context.out.list(&rows, table)?;
    if rows.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said(Exit::Failed))
    }
}

impl Row {
    fn of(finding: Finding) -> Self {
        Self {
            by: finding.by,
            line: finding.line,
            column: finding.column,
            message: finding.message,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["line", "column", "by", "message"]);
    for row in rows {
        table.row([
            row.line.to_string(),
            row.column.to_string(),
            row.by.to_owned(),
            row.message.clone(),
        ]);
    }
    table
}
