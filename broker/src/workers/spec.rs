//! What a pool must know of its tool.

use std::time::Duration;

use rumi_policy::ComponentId;
use serde::Serialize;

/// A tool, or the program of a service.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Whose spares these are.
    pub component: ComponentId,
    /// What runs it.
    pub program: Program,
    /// Absolute path of the tool's file inside the container.
    pub entry: String,
    /// Directory inside the container in which it begins; the worker's own where none is named.
    pub working_dir: Option<String>,
    /// Variables of its environment beside those that every process has.
    pub env: Vec<(String, String)>,
    /// Time for one call.
    pub timeout: Duration,
    /// Memory for one call, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads for one call.
    pub pids: u64,
    /// Bytes kept of stdout and of stderr of one call.
    pub output_bytes: u64,
    /// Processes kept warm for the next calls; none for a service.
    pub spares: usize,
    /// It runs for as long as its container, instead of being called.
    pub service: bool,
}

impl ToolSpec {
    /// What is started, for the record of executions.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match &self.program {
            Program::Python { interpreter, .. } => vec![interpreter.clone(), self.entry.clone()],
            Program::Command { argv, .. } => argv.clone(),
        }
    }
}

/// What runs a tool.
#[derive(Debug, Clone)]
pub enum Program {
    /// A warm interpreter that forks.
    Python {
        /// Absolute path inside the container.
        interpreter: String,
        /// The setting that names it, where it is not the image's own: it may be missing or too old.
        named_by: Option<&'static str>,
    },
    /// A program with its arguments, kept by the guest.
    Command {
        /// The whole command line.
        argv: Vec<String>,
        /// When it is started.
        start: CommandStart,
    },
}

/// When the program of a tool is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStart {
    /// Before the call: it speaks frames, says when it has loaded its file, and waits.
    Ahead,
    /// When the call comes, with the arguments on standard input.
    AtCall,
}
