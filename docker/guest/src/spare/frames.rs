//! What the broker tells a spare.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How the program is to be run. No code of the pack runs before this.
#[derive(Debug, Deserialize)]
pub(super) struct Prepare {
    /// The program and its arguments, the tool's file among them.
    pub(super) command: Vec<String>,
    pub(super) start: Start,
    /// The tool's file.
    pub(super) entry: String,
    #[serde(default)]
    pub(super) working_dir: Option<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) limits: Limits,
}

/// When the program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    /// Before the call; it says when it is ready, and waits.
    Ahead,
    /// When the call comes.
    AtCall,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Limits {
    pub(super) output_bytes: usize,
    pub(super) nofile: u64,
}

/// The one call.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    args: Box<RawValue>,
}

impl Call {
    /// JSON.
    pub(super) fn args(&self) -> &str {
        self.args.get()
    }
}
