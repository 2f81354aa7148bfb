//! Reads records back.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// What is looked for; every field that is set must match.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Exact pack id.
    pub pack: Option<String>,
    /// Exact component id.
    pub component: Option<String>,
    /// Exact permission.
    pub permission: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Exact reason code (also `ok`, `abandoned` and error codes of outcomes).
    pub reason: Option<String>,
    /// Exact phase.
    pub phase: Option<String>,
    /// Exact record id.
    pub id: Option<String>,
    /// Not older than this.
    pub since: Option<SystemTime>,
    /// Older than this.
    pub until: Option<SystemTime>,
    /// Occurs anywhere in the record.
    pub text: Option<String>,
}

/// One record, read back.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line as it stands in the log, without the newline. Safe to print.
    pub line: String,
    /// The line, parsed.
    pub fields: Value,
}

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The file system said no.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A line is not a record.
    #[error("`{path}`, line {line}: {what}; run `packctl audit verify`")]
    Malformed {
        /// The segment.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// Iterator over matching records, oldest first.
#[derive(Debug)]
pub struct Scan {}

impl Iterator for Scan {
    type Item = Result<Record, QueryError>;
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// All matching records, oldest first, streaming.
///
/// # Errors
/// The directory cannot be read.
pub fn scan(_dir: &Path, _filter: &Filter) -> Result<Scan, QueryError> {
    Ok(Scan {})
}

/// The last `count` matching records, oldest first, read from the end.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn tail(_dir: &Path, _filter: &Filter, _count: usize) -> Result<Vec<Record>, QueryError> {
    Ok(Vec::new())
}

/// Follows the log as it grows.
#[derive(Debug)]
pub struct Follow {}

impl Follow {
    /// Starts behind the last record that is there now.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn from_end(_dir: &Path, _filter: &Filter) -> Result<Self, QueryError> {
        Ok(Self {})
    }
    /// Records that were added since the last call; empty when there are none. Ask a few times a second.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn poll(&mut self) -> Result<Vec<Record>, QueryError> {
        Ok(Vec::new())
    }
}
