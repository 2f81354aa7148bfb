//! What is wrong with a policy file, said so that it can be put right.

use crate::json::JsonError;

/// One thing wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// Below the home directory, e.g. `grants/default:tool:my_tool.json`.
    pub file: String,
    pub line: Option<usize>,
    /// Dotted, e.g. `permissions.file_read.directories[0]`.
    pub field: Option<String>,
    pub message: String,
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(file: &str, error: JsonError, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: error.line,
            field: error.field,
            message: error.message,
            remedy: remedy.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", crate::spelling::excerpt(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field `{field}`")?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}
