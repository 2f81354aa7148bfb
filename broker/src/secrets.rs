//! Where the values of `env_read` come from: a root-only file, the broker's environment.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use rumi_policy::EnvKey;

use crate::config::EnvSource;

/// Largest secrets file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The sources, in the order in which they are asked.
#[derive(Debug)]
pub struct Values {
    file: PathBuf,
    sources: Vec<EnvSource>,
}

/// Why the secrets file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// It cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// Others than root may read it.
    #[error(
        "`{path}` may be read by others than root; remedy: chown root `{path}` && chmod 600 `{path}`"
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is not an object of strings.
    #[error("`{path}` is not a JSON object of strings: line {line}, column {column}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
}

impl Values {
    /// Sources in the order the configuration gives.
    #[must_use]
    pub fn new(file: PathBuf, sources: Vec<EnvSource>) -> Self {
        Self { file, sources }
    }

    /// The values of those keys that exist; the first source that has a key wins.
    ///
    /// # Errors
    /// When the secrets file is there and cannot be used.
    pub fn get<'a>(
        &self,
        keys: impl Iterator<Item = &'a EnvKey>,
    ) -> Result<BTreeMap<String, String>, ValuesError> {
        let secrets = if self.sources.contains(&EnvSource::Secrets) {
            self.secrets()?
        } else {
            BTreeMap::new()
        };
        let mut values = BTreeMap::new();
        for key in keys {
            let value = self.sources.iter().find_map(|source| match source {
                EnvSource::Secrets => secrets.get(key.as_str()).cloned(),
                EnvSource::Environment => std::env::var(key.as_str()).ok(),
            });
            if let Some(value) = value {
                values.insert(key.to_string(), value);
            }
        }
        Ok(values)
    }

    /// Read at each request, so that a changed secret is the new one at once.
    fn secrets(&self) -> Result<BTreeMap<String, String>, ValuesError> {
        let read = |source| ValuesError::Read {
            path: self.file.clone(),
            source,
        };
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(read(error)),
        };
        let metadata = file.metadata().map_err(read)?;
        if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(ValuesError::Open {
                path: self.file.clone(),
            });
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(read)?;
        // serde's own message may quote a value, so only the place is told.
        serde_json::from_slice(&bytes).map_err(|error| ValuesError::Malformed {
            path: self.file.clone(),
            line: error.line(),
            column: error.column(),
        })
    }
}
