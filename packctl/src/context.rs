//! What every command needs to know: the places on this host, and where to write.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    cli::Places,
    console::Console,
    failure::Failure,
    output::{Format, Output},
};

/// One run of packctl.
#[derive(Debug)]
pub(crate) struct Context {
    home: PathBuf,
    state: PathBuf,
    run: PathBuf,
    pub(crate) out: Output,
    pub(crate) console: Console,
}

impl Context {
    pub(crate) fn new(places: Places, format: Format, console: Console) -> Result<Self, Failure> {
        Ok(Self {
            home: place(places.home, "RUMI_HOME", ".")?,
            state: place(places.state, "RUMI_STATE", "/var/lib/rumi")?,
            run: place(places.run, "RUMI_RUN", "/run/rumi")?,
            out: Output::new(format),
            console,
        })
    }

    /// The directory that holds docker/, grants/ and scopes/.
    ///
    /// # Errors
    /// When it holds none of them, which usually means that `--home` was forgotten.
    pub(crate) fn home(&self) -> Result<&Path, Failure> {
        let known = ["docker", "grants", "scopes"];
        if known.iter().any(|name| self.home.join(name).is_dir()) {
            return Ok(&self.home);
        }
        Err(Failure::NotFound {
            message: format!(
                "`{}` holds no docker/, grants/ or scopes/ directory",
                self.home.display()
            ),
            hint: "name the directory that does with --home DIR or RUMI_HOME".to_owned(),
        })
    }

    pub(crate) fn grants(&self) -> Result<PathBuf, Failure> {
        Ok(self.home()?.join("grants"))
    }

    pub(crate) fn scopes(&self) -> Result<PathBuf, Failure> {
        Ok(self.home()?.join("scopes"))
    }

    pub(crate) fn packs(&self) -> Result<PathBuf, Failure> {
        Ok(self.home()?.join("docker/packs"))
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The command that starts the broker these places belong to.
    pub(crate) fn start_command(&self) -> String {
        format!(
            "rumi-broker --home {} --state {} --run {}",
            quoted(&self.home),
            quoted(&self.state),
            quoted(&self.run)
        )
    }
}

fn place(given: Option<PathBuf>, variable: &str, otherwise: &str) -> Result<PathBuf, Failure> {
    let path = given
        .or_else(|| {
            env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })
        .unwrap_or_else(|| PathBuf::from(otherwise));
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    std::path::absolute(&path).map_err(Failure::files("find", path))
}

/// A path as a shell wants it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |character: char| character.is_alphanumeric() || "/._-:,@%+=".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        for (path, shown) in [
            ("/var/lib/rumi", "/var/lib/rumi"),
            ("/a b", "'/a b'"),
            ("/it's", "'/it'\\''s'"),
            ("/$HOME", "'/$HOME'"),
        ] {
            assert_eq!(quoted(Path::new(path)), shown);
        }
    }
}
