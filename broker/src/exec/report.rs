//! What came of a run, for whoever asked for it and for the log.

use std::time::Duration;

use bytes::Bytes;
use rumi_proto::v1;

use crate::{
    caller::SeenDenial,
    vetting::{Detected, Finding, Findings},
};

/// Why a run was ended before it ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its time was up.
    Timeout,
    /// It needed more memory than it may.
    Memory,
    /// It printed more than it may.
    Output,
    /// It made more processes than it may.
    Pids,
    /// A signal ended it, or what keeps it.
    Killed,
}

impl Stopped {
    /// The word for records and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Pids => "pids",
            Self::Killed => "killed",
        }
    }
}

/// One file that came out.
#[derive(Debug)]
pub struct OutputFile {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// Everything there is to say of a run.
#[derive(Debug)]
pub struct Report {
    pub(super) language: Detected,
    pub(super) record: String,
    pub(super) container: String,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) stopped: Option<Stopped>,
    pub(super) error: Option<String>,
    pub(super) duration: Duration,
    pub(super) memory_peak: u64,
    pub(super) cpu_time: Duration,
    pub(super) files: Vec<OutputFile>,
    pub(super) files_left_out: u32,
    pub(super) denials: Vec<SeenDenial>,
    pub(super) findings: Findings,
}

impl Report {
    /// For the log: how it ended, in one word.
    pub(super) fn reason(&self) -> &'static str {
        match (self.stopped, &self.error) {
            (Some(stopped), _) => stopped.as_str(),
            (None, _) if !self.findings.is_empty() => "not_started",
            (None, Some(_)) => "not_started",
            (None, None) => "exited",
        }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn reply(self, denial: impl Fn(SeenDenial) -> v1::CallDenial) -> v1::ExecResponse {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        v1::ExecResponse {
            exit_code: self.exit_code,
            stdout: self.stdout.into(),
            stderr: self.stderr.into(),
            duration_us: micros(self.duration),
            memory_peak_bytes: self.memory_peak,
            cpu_time_us: micros(self.cpu_time),
            truncated: self.truncated,
            stopped_reason: self.stopped.map_or("", Stopped::as_str).to_owned(),
            error: self.error.unwrap_or_default(),
            record: self.record,
            language: self.language.language.as_str().to_owned(),
            language_reason: self.language.because.to_string(),
            container_id: self.container,
            files: self
                .files
                .into_iter()
                .map(|file| v1::ExecFile {
                    name: file.name,
                    content: Bytes::from(file.content),
                })
                .collect(),
            files_left_out: self.files_left_out,
            denials: self.denials.into_iter().map(denial).collect(),
            more_findings: u32::try_from(self.findings.more()).unwrap_or(u32::MAX),
            findings: self.findings.list().iter().map(finding).collect(),
        }
    }
}

fn finding(finding: &Finding) -> v1::ExecFinding {
    v1::ExecFinding {
        line: finding.line,
        column: finding.column,
        rule: finding.rule.as_str().to_owned(),
        found: finding.found.clone(),
        allow: finding.allow.clone(),
    }
}
