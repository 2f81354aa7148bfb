//! Checkpoints as signed notes.

use std::path::{Path, PathBuf};

/// The key that checkpoints are verified with, as `NAME+HASH+BASE64` in `audit.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) name: String,
    pub(crate) bytes: [u8; 32],
}

/// A signed statement that the log had this size and this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    text: String,
}

/// A key or checkpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The text is not what it should be.
    #[error("{what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
}

impl PublicKey {
    /// Reads `audit.pub`.
    ///
    /// # Errors
    /// The file is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, NoteError> {
        Err(NoteError::Malformed {
            what: path.display().to_string(),
        })
    }
}

impl Checkpoint {
    /// Reads a checkpoint that was kept; its signature is checked by [`crate::verify::verify`].
    ///
    /// # Errors
    /// The file is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, NoteError> {
        Err(NoteError::Malformed {
            what: path.display().to_string(),
        })
    }
    /// Number of records it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        0
    }
    /// The whole signed note.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}
