//! Which programs an image has, and what their names resolve to. A grant's list of commands
//! is compared by this, and not by what a name looks like.

use std::{
    collections::HashMap,
    future::pending,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;

use super::{
    engine::{Engine, ImageId},
    error::EngineError,
    hardening::{Access, GUEST, bind},
    labels::PackLimits,
    throwaway::{self, Command},
};
use crate::command::{collect, lines};

/// Nobody, who owns nothing.
const NOBODY: &str = "65534:65534";
/// Listing takes milliseconds; the rest is the engine's time on a loaded host.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A few thousand programs fit many times.
const MAX_OUTPUT: usize = 8 << 20;
const LIMITS: PackLimits = PackLimits {
    memory_bytes: 128 << 20,
    nano_cpus: 1_000_000_000,
    pids: 16,
    tmp_bytes: 1 << 20,
};

/// One line of the guest's list.
#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    path: String,
    real: String,
}

/// The programs of one image.
#[derive(Debug, Default)]
pub struct ProgramIndex {
    by_name: HashMap<String, String>,
    by_path: HashMap<String, String>,
}

impl ProgramIndex {
    /// The real path that a name or an absolute path stands for in the image.
    #[must_use]
    pub fn resolve(&self, program: &str) -> Option<&str> {
        let found = if program.contains('/') {
            self.by_path.get(program)
        } else {
            self.by_name.get(program)
        };
        found.map(String::as_str)
    }

    fn parse(output: &[u8]) -> Result<Self, serde_json::Error> {
        let mut index = Self::default();
        for line in output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let Program { name, path, real } = serde_json::from_slice(line)?;
            index
                .by_path
                .entry(real.clone())
                .or_insert_with(|| real.clone());
            index.by_path.insert(path, real.clone());
            // The first one found is what PATH would find.
            index.by_name.entry(name).or_insert(real);
        }
        Ok(index)
    }
}

/// Indices of the images that were asked about.
#[derive(Debug, Default)]
pub struct Programs {
    known: Mutex<HashMap<ImageId, Arc<ProgramIndex>>>,
}

impl Programs {
    /// The image's index; made once, in a container that is thrown away.
    ///
    /// # Errors
    /// When the container cannot be run or what it prints is not a list.
    pub async fn of(
        &self,
        engine: &Engine,
        image: &ImageId,
        guest: &Path,
    ) -> Result<Arc<ProgramIndex>, EngineError> {
        let known = self
            .known
            .lock()
            .ok()
            .and_then(|known| known.get(image).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let index = Arc::new(read(engine, image, guest).await?);
        if let Ok(mut known) = self.known.lock() {
            known.insert(image.clone(), index.clone());
        }
        Ok(index)
    }
}

async fn read(engine: &Engine, image: &ImageId, guest: &Path) -> Result<ProgramIndex, EngineError> {
    let command = Command {
        image: image.clone(),
        argv: vec![GUEST.to_owned(), "programs".to_owned()],
        environment: None,
        framed: false,
        env: vec!["PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".to_owned()],
        user: NOBODY.to_owned(),
        directory: "/".to_owned(),
        mounts: vec![bind(guest, GUEST, Access::ReadOnly)?],
        limits: LIMITS,
        timeout: TIMEOUT,
        max_output: MAX_OUTPUT,
    };
    let (asking, worker) = lines();
    let running = throwaway::run(engine, command, worker, pending(), || {});
    let (outcome, said) = tokio::join!(running, collect(asking, Bytes::new()));
    let outcome = outcome?;
    let failed = |reason| EngineError::Programs {
        image: image.clone(),
        reason,
    };
    if outcome.exit_code != 0 || outcome.stopped.is_some() {
        let words = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        return Err(failed(format!("exit code {}, {words}", outcome.exit_code)));
    }
    ProgramIndex::parse(&said.stdout).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_resolve_to_real_paths() {
        let lines = br#"{"name":"python3","path":"/usr/bin/python3","real":"/usr/bin/python3.11"}
{"name":"python3.11","path":"/usr/bin/python3.11","real":"/usr/bin/python3.11"}
{"name":"ls","path":"/usr/local/bin/ls","real":"/usr/local/bin/ls"}
{"name":"ls","path":"/bin/ls","real":"/usr/bin/ls"}
"#;
        let index = ProgramIndex::parse(lines).unwrap();
        for (asked, real) in [
            ("python3", Some("/usr/bin/python3.11")),
            ("/usr/bin/python3", Some("/usr/bin/python3.11")),
            ("ls", Some("/usr/local/bin/ls")),
            ("/bin/ls", Some("/usr/bin/ls")),
            ("/usr/bin/ls", Some("/usr/bin/ls")),
            ("./ls", None),
            ("bin/ls", None),
            ("", None),
            ("rm", None),
        ] {
            assert_eq!(index.resolve(asked), real, "{asked}");
        }
        assert!(ProgramIndex::parse(b"{\"name\":1}\n").is_err());
    }
}
