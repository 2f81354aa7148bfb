//! `packctl audit …`

mod filters;
mod query;
mod records;
mod show;
mod tail;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;
use rumi_audit::query::QueryError;

use crate::{context::Context, failure::Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    Tail(tail::Tail),
    Query(query::Query),
    Show(show::Show),
    Verify(verify::Verify),
}

impl Audit {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Tail(tail) => tail.run(context),
            Self::Query(query) => query.run(context),
            Self::Show(show) => show.run(context),
            Self::Verify(verify) => verify.run(context),
        }
    }
}

/// Where the log is read from.
#[derive(Debug, clap::Args)]
pub(crate) struct Source {
    /// Directory of the log, for a copy elsewhere [default: STATE/audit]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Source {
    /// Whether a directory was named, so that one that is missing is a mistake.
    pub(crate) fn is_named(&self) -> bool {
        self.dir.is_some()
    }

    pub(crate) fn directory(&self, context: &Context) -> Result<PathBuf, Failure> {
        let directory = self.dir.clone().unwrap_or_else(|| context.audit());
        // A directory that may not be entered is there, so `is_dir` would mislead.
        match directory.metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(directory),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::files("read", directory)(error))
            }
            _ => Err(Failure::NotFound {
                message: format!("there is no audit log in `{}`", directory.display()),
                hint: "name the broker's directory with --state DIR or RUMI_STATE, or a copy of the log with --dir DIR".to_owned(),
            }),
        }
    }
}

pub(crate) fn unreadable(error: QueryError) -> Failure {
    match error {
        QueryError::Io { path, source } => Failure::files("read", path)(source),
        other @ QueryError::Malformed { .. } => Failure::Failed {
            message: other.to_string(),
            hint: "`packctl audit verify` says what is wrong with the log".to_owned(),
        },
    }
}
