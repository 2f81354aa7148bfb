//! Section `exec`: code that somebody just wrote.

use serde::Deserialize;

use super::ValidationSettings;

/// How ad-hoc code is run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecSettings {
    /// What it is looked through for before it runs.
    pub validation: ValidationSettings,
}
