//! The host's own checkers, run on a copy of the code: they read it and never run it.
//!
//! Reading hostile code is what parsers have had their mistakes in, so they have neither root's
//! rights nor its environment, a limited time, and no configuration that could name plugins.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::failure::Failure;

/// How long one of them may take; mypy reads the standard library's stubs first.
const PATIENCE: Duration = Duration::from_secs(60);
/// The user `nobody`, and its group, as Debian numbers them.
const NOBODY: u32 = 65_534;

/// A directory with the code in it.
#[derive(Debug)]
pub(super) struct Bench {
    directory: TempDir,
    pub(super) file: &'static str,
    sdk: bool,
}

impl Bench {
    pub(super) fn new(
        code: &[u8],
        file: &'static str,
        sdk: Option<&Path>,
    ) -> Result<Self, Failure> {
        let made = || {
            let directory = tempfile::Builder::new()
                .prefix("packctl-check-")
                .tempdir()?;
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
            readable(&directory.path().join(file), code)?;
            let sdk = match sdk.map(|sdk| sdk.join("rumi")) {
                Some(sdk) if sdk.is_dir() => {
                    copied(&sdk, &directory.path().join("sdk/rumi"))?;
                    true
                }
                _ => false,
            };
            Ok(Self {
                directory,
                file,
                sdk,
            })
        };
        made().map_err(Failure::files("copy code into", env::temp_dir()))
    }

    /// What mypy finds the SDK's types in.
    pub(super) fn sdk(&self) -> Option<PathBuf> {
        self.sdk.then(|| self.directory.path().join("sdk"))
    }

    /// Runs a program on the copy; nothing where it is not installed for everybody.
    pub(super) async fn run(
        &self,
        program: &str,
        arguments: &[&str],
    ) -> Result<Option<Output>, Failure> {
        for candidate in installed(program) {
            let mut command = Command::new(&candidate);
            command
                .args(arguments)
                .current_dir(self.directory.path())
                .env_clear()
                .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                .env("HOME", self.directory.path())
                .env("LANG", "C.UTF-8")
                .stdin(Stdio::null())
                .kill_on_drop(true);
            if let Some(sdk) = self.sdk() {
                command.env("MYPYPATH", sdk);
            }
            if rustix::process::geteuid().is_root() {
                command.uid(NOBODY).gid(NOBODY);
            }
            let ran = tokio::time::timeout(PATIENCE, command.output()).await;
            let ran = ran.map_err(|_| Failure::Failed {
                message: format!("`{program}` took longer than {} s", PATIENCE.as_secs()),
                hint: "the code may be made to keep checkers busy".to_owned(),
            })?;
            match ran {
                Ok(output) => return Ok(Some(output)),
                // Root's own copy of a program is not for others; there may be another one.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::NotFound
                    ) => {}
                Err(error) => return Err(Failure::files("run", candidate)(error)),
            }
        }
        Ok(None)
    }
}

/// Every program of that name, in the order in which a shell would look.
fn installed(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .filter(|candidate| candidate.is_file())
        .collect()
}

fn readable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn copied(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target)?;
        } else {
            readable(&target, &fs::read(entry.path())?)?;
        }
    }
    // The directory between the bench and the package is made by the way.
    match to.parent() {
        Some(parent) => fs::set_permissions(parent, fs::Permissions::from_mode(0o755)),
        None => Ok(()),
    }
}
