//! `packctl audit verify`

use std::path::{Path, PathBuf};

use rumi_audit::{
    Checkpoint, PublicKey,
    note::NoteError,
    verify::{self, Finding},
};
use serde::Serialize;

use super::Source;
use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Prove that no record was changed, removed or put in
///
/// Needs only the files of the log and the public key; no broker, no grants. A
/// log whose end was cut off whole is still sound in itself: only --last-known,
/// a checkpoint kept elsewhere, shows that.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    source: Source,

    /// The public key [default: STATE/keys/audit.pub]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// A checkpoint of this log that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    last_known: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Sound {
    ok: bool,
    records: u64,
    signed: u64,
    unsigned: u64,
    segments: u64,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_known: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Broken {
    ok: bool,
    file: String,
    line: Option<u64>,
    seq: Option<u64>,
    what: String,
}

impl Verify {
    pub(crate) fn run(self, context: &mut Context) -> Result<(), Failure> {
        let directory = self.source.directory(context)?;
        let key_path = self
            .key
            .unwrap_or_else(|| context.state().join("keys/audit.pub"));
        let key =
            PublicKey::read(&key_path).map_err(|error| unusable(&key_path, "--key", &error))?;
        let last_known = match &self.last_known {
            Some(path) => Some(
                Checkpoint::read(path).map_err(|error| unusable(path, "--last-known", &error))?,
            ),
            None => None,
        };
        match verify::verify(&directory, &key, last_known.as_ref()) {
            Ok(summary) => {
                let sound = Sound {
                    ok: true,
                    records: summary.records,
                    signed: summary.signed,
                    unsigned: summary.unsigned(),
                    segments: summary.segments,
                    root: hex(&summary.root),
                    last_known: last_known.as_ref().map(Checkpoint::size),
                };
                context.out.one(&sound, Sound::lines)
            }
            Err(finding) => {
                report(context, &finding)?;
                Err(Failure::Said(Exit::Failed))
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unusable(path: &Path, option: &str, error: &NoteError) -> Failure {
    // The error names the file itself.
    let message = error.to_string();
    let hint = format!("name the file with {option} FILE");
    if path.exists() {
        Failure::Failed { message, hint }
    } else {
        Failure::NotFound { message, hint }
    }
}

fn report(context: &mut Context, finding: &Finding) -> Result<(), Failure> {
    let broken = Broken {
        ok: false,
        file: finding.file.display().to_string(),
        line: finding.line,
        seq: finding.seq,
        what: finding.what.clone(),
    };
    context
        .out
        .one(&broken, |_| vec!["the log is NOT sound".to_owned()])?;
    context.console.error(&finding.to_string());
    context.console.hint(
        "keep the files as they are; compare them with a copy and with a checkpoint kept elsewhere",
    );
    Ok(())
}

impl Sound {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "the log is sound: {} records in {} segments, {} of them signed",
                self.records, self.segments, self.signed
            ),
            format!("root {}", self.root),
        ];
        if let Some(size) = self.last_known {
            lines.push(format!(
                "it continues the known checkpoint of {size} records"
            ));
        }
        if self.unsigned > 0 {
            lines.push(format!(
                "the last {} records are chained but not signed yet",
                self.unsigned
            ));
        }
        lines
    }
}
