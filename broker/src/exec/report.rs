//! What came of a run, for whoever asked for it and for the log.

use std::time::Duration;

use bytes::Bytes;
use rumi_proto::v1;

use super::{attend::Came, collect::Collected, request::Order};
use crate::{
    caller::SeenDenial,
    vetting::{Detected, Finding, Findings, Mask},
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

/// Everything there is to say of a run.
#[derive(Debug)]
pub struct Report {
    pub(super) language: Detected,
    pub(super) record: String,
    pub(super) container: String,
    pub(super) findings: Findings,
    pub(super) came: Came,
    pub(super) cpu_time: Duration,
    pub(super) left: Collected,
    pub(super) denials: Vec<SeenDenial>,
}

impl Report {
    /// Of a run that has not begun.
    pub(super) fn new(order: &Order, record: String, container: &str) -> Self {
        Self {
            language: order.language.clone(),
            record,
            container: container.to_owned(),
            findings: Findings::default(),
            came: Came::default(),
            cpu_time: Duration::ZERO,
            left: Collected::default(),
            denials: Vec::new(),
        }
    }

    /// What the run was refused, with remedies for whoever reads it.
    pub(super) fn denied(
        &mut self,
        denials: Vec<SeenDenial>,
        mask: &Mask,
        remedy: impl Fn(&str) -> String,
    ) {
        let masked = |denial: SeenDenial| SeenDenial {
            target: mask.text(&denial.target),
            remedy: mask.text(&remedy(&denial.remedy)),
            ..denial
        };
        self.denials = denials.into_iter().map(masked).collect();
    }

    /// For the log: how it ended, in one word.
    pub(super) fn reason(&self) -> &'static str {
        match (self.came.stopped, &self.came.error) {
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
        let Came {
            stdout,
            stderr,
            truncated,
            exit_code,
            stopped,
            error,
            duration,
            memory_peak,
        } = self.came;
        let files = self.left.files.into_iter().map(|file| v1::ExecFile {
            name: file.name,
            content: Bytes::from(file.content),
        });
        v1::ExecResponse {
            exit_code,
            stdout: stdout.into(),
            stderr: stderr.into(),
            duration_us: micros(duration),
            memory_peak_bytes: memory_peak,
            cpu_time_us: micros(self.cpu_time),
            truncated,
            stopped_reason: stopped.map_or("", Stopped::as_str).to_owned(),
            error: error.unwrap_or_default(),
            record: self.record,
            language: self.language.language.as_str().to_owned(),
            language_reason: self.language.because.to_string(),
            container_id: self.container,
            files: files.collect(),
            files_left_out: self.left.left_out,
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
