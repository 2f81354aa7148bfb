//! Terminal commands: one sandbox container each, with one checked directory in it.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    engine::{Engine, ImageId},
    error::EngineError,
    hardening::{Access, GUEST, bind},
    labels::{self, PackLimits},
    mounts::{self, CheckedMount},
    throwaway::{self, Command},
};
use crate::command::{Environment, Outcome, Size, Stopped, Worker};

/// Directories of the image that a working directory must not cover: the command itself, or
/// what the engine mounts, would disappear below it.
const OF_THE_IMAGE: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin",
    "/sys", "/usr",
];
/// Where such a working directory is shown instead.
const INSTEAD: &str = "/work";

/// A command and the walls it runs within.
#[derive(Debug)]
pub struct SandboxSpec {
    /// Usually the base image.
    pub image: ImageId,
    /// The working directory, opened and checked. It is all of the host that the command sees.
    pub directory: OwnedFd,
    /// Its path on the host. It is shown at the same path, so that arguments that name files
    /// mean what the caller means; at `/work` where that would hide the image's own programs.
    pub path: PathBuf,
    /// The directory's owner, whom the command runs as. Never 0.
    pub uid: u32,
    /// And group.
    pub gid: u32,
    /// The program's resolved path, and its arguments.
    pub argv: Vec<String>,
    /// All of its environment.
    pub environment: Environment,
    /// The terminal it runs on, where it has one.
    pub tty: Option<Size>,
    /// How long it may run.
    pub timeout: Duration,
    /// Memory, processor time, processes, /tmp.
    pub limits: PackLimits,
    /// Bytes of stdout, and as many of stderr.
    pub max_output: usize,
}

/// Where a host directory appears in a sandbox.
#[must_use]
pub fn shown_at(path: &Path) -> &Path {
    let covered = path.parent().is_none() || OF_THE_IMAGE.iter().any(|own| path.starts_with(own));
    if covered { Path::new(INSTEAD) } else { path }
}

/// Runs the command to its end, its bounds, or until `ending`, whichever comes first. The guest keeps it: it
/// brings the environment, passes signals on, and makes the terminal.
///
/// # Errors
/// When the directory cannot be shown or the engine fails. A command that fails is no error.
pub async fn run(
    engine: &Engine,
    spec: SandboxSpec,
    host: &Places<'_>,
    worker: Worker,
    ending: impl Future<Output = Stopped> + Send,
) -> Result<Outcome, EngineError> {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("{}-{number}", std::process::id());
    let shown = CheckedMount::show(&spec.directory, host.mounts, &name)?;
    let target = shown_at(&spec.path);
    let target = target.to_str().ok_or_else(|| EngineError::Path {
        path: spec.path.clone(),
    })?;
    let mut argv = vec![GUEST.to_owned(), "enter".to_owned()];
    if let Some(Size { rows, columns }) = spec.tty {
        argv.extend(["--tty".to_owned(), format!("{rows}x{columns}")]);
    }
    argv.push("--".to_owned());
    argv.extend(spec.argv);
    let command = Command {
        image: spec.image,
        argv,
        env: Vec::new(),
        environment: Some(spec.environment),
        framed: spec.tty.is_some(),
        user: format!("{}:{}", spec.uid, spec.gid),
        directory: target.to_owned(),
        mounts: vec![
            bind(shown.path(), target, Access::Writable)?,
            bind(host.guest, GUEST, Access::ReadOnly)?,
        ],
        limits: spec.limits,
        timeout: spec.timeout,
        max_output: spec.max_output,
    };
    // Once the container runs it holds a mount of its own, and ours can go.
    throwaway::run(engine, command, worker, ending, move || drop(shown)).await
}

/// What sandboxes need of the host.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Where checked directories are bound.
    pub mounts: &'a Path,
    /// The guest's binary.
    pub guest: &'a Path,
}

/// Removes sandboxes, containers of ad-hoc code, and mounts that an earlier broker left; their number.
///
/// # Errors
/// When the engine fails, or a mount cannot be removed.
pub async fn clean_leftovers(engine: &Engine, mounts: &Path) -> Result<usize, EngineError> {
    let mut left = engine.identifiers(labels::KIND_SANDBOX).await?;
    left.extend(engine.identifiers(labels::KIND_CODE).await?);
    for container in &left {
        engine.remove(container).await?;
    }
    Ok(left.len().saturating_add(mounts::clear(mounts)?))
}
