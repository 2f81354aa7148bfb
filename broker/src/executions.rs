//! One JSON line for each run of foreign code: tool calls and commands.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Size at which the file is put aside for a new one, in bytes.
const ROLL: u64 = 64 * 1024 * 1024;

/// One run, as it is written.
#[derive(Debug)]
pub struct Execution<'a> {
    /// Where it ran.
    pub container_id: &'a str,
    /// On whose behalf.
    pub component: &'a str,
    /// What ran.
    pub argv: &'a [String],
    /// From its start to its end.
    pub duration: Duration,
    /// None where there was no process of its own to ask.
    pub exit_code: Option<i64>,
    /// Output was cut.
    pub truncated: bool,
    /// Why it ended.
    pub stopped_reason: &'a str,
    /// What went wrong about it, where the rest does not say so.
    pub error: Option<&'a str>,
    /// What was found in the code before it ran.
    pub findings: &'a [serde_json::Value],
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: u64,
    container_id: &'a str,
    component: &'a str,
    argv: &'a [String],
    duration_ms: u64,
    exit_code: Option<i64>,
    truncated: bool,
    stopped_reason: &'a str,
    error: Option<&'a str>,
    findings: &'a [serde_json::Value],
}

/// The file, written line by line with no queue that could drop one.
#[derive(Debug)]
pub struct Executions {
    path: PathBuf,
    file: Mutex<File>,
    lost: AtomicU64,
}

impl Executions {
    /// Opens `executions.jsonl` in the directory of logs.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("executions.jsonl");
        Ok(Self {
            file: Mutex::new(open(&path)?),
            path,
            lost: AtomicU64::new(0),
        })
    }

    /// Appends one line. A line that cannot be written is counted and reported: the
    /// audit log, not this file, is what nothing happens without.
    pub fn write(&self, execution: &Execution<'_>) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let line = Line {
            timestamp: millis(since),
            container_id: execution.container_id,
            component: execution.component,
            argv: execution.argv,
            duration_ms: millis(execution.duration),
            exit_code: execution.exit_code,
            truncated: execution.truncated,
            stopped_reason: execution.stopped_reason,
            error: execution.error,
            findings: execution.findings,
        };
        if let Err(error) = self.append(&line) {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(%error, lost, "an execution could not be noted");
        }
    }

    /// Lines that could not be written since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn append(&self, line: &Line<'_>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata()?.len() > ROLL {
            std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            *file = open(&self.path)?;
        }
        file.write_all(&bytes)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
