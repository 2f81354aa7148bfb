//! Section `exec`: code that somebody just wrote.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    Libraries, ValidationSettings,
    values::{
        ByteSize, CodeLength, CodeMemory, CodeSeconds, Cpus, Millis, Pids, ReadyContainers, Runs,
    },
};
use crate::vetting::Language;

/// The most that a run may print.
const MOST_OUTPUT: ByteSize = ByteSize::mebibytes(10);

/// How ad-hoc code is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecSettings {
    /// The language of code of which nothing is said; `None` to guess.
    #[serde(deserialize_with = "language")]
    pub language: Option<Language>,
    /// Time of a run that names none.
    pub time_s: CodeSeconds,
    /// Memory of a run that names none.
    pub memory_mb: CodeMemory,
    /// The longest code accepted.
    pub max_code: CodeLength,
    /// Bytes of stdout and stderr together, and of files that come out.
    #[serde(deserialize_with = "output")]
    pub max_output: ByteSize,
    /// Processes and threads of a run.
    pub pids: Pids,
    /// Processors' worth of time.
    pub cpus: Cpus,
    /// Size of the working directory, and of /tmp.
    pub tmp_size: ByteSize,
    /// Containers that wait for code.
    pub ready: ReadyContainers,
    /// Runs and sessions at once.
    pub running: Runs,
    /// How long containers wait for code that does not come.
    pub idle_ms: Millis,
    /// Libraries that it finds beside the standard ones.
    pub requirements: Libraries,
    /// What it is looked through for before it runs.
    pub validation: ValidationSettings,
}

impl Default for ExecSettings {
    fn default() -> Self {
        Self {
            language: None,
            time_s: CodeSeconds::new(10),
            memory_mb: CodeMemory::new(64),
            max_code: CodeLength::new(100_000),
            max_output: MOST_OUTPUT,
            pids: Pids::new(64),
            cpus: Cpus::from_nanos(1_000_000_000),
            tmp_size: ByteSize::mebibytes(64),
            ready: ReadyContainers::new(2),
            running: Runs::new(8),
            idle_ms: Millis::new(900_000),
            requirements: Libraries::default(),
            validation: ValidationSettings::default(),
        }
    }
}

impl ExecSettings {
    /// What code is most likely written in before there was any.
    #[must_use]
    pub fn usual_language(&self) -> Language {
        self.language.unwrap_or(Language::Python)
    }
}

fn language<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Language>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "auto" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(D::Error::custom)
}

fn output<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if size > MOST_OUTPUT {
        return Err(D::Error::custom("`max_output` of exec is at most \"10m\""));
    }
    Ok(size)
}
