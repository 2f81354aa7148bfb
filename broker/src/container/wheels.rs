//! Wheels: downloaded on the host before a build that has no network. Wheels only, because
//! a source distribution runs its own code when it is built.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Command,
};

use super::{build_output::Tail, digest::Digest, image::BuildError, requirements::Requirements};
use crate::config::BuildSettings;

/// The C library of the base image is 2.36; a wheel built for any older one works too.
const GLIBC_MINOR: std::ops::RangeInclusive<u32> = 5..=36;

/// A directory with everything that `pip install --no-index` needs.
#[derive(Debug, Clone)]
pub(super) struct Wheels {
    /// Where they lie, with `requirements.txt` beside them.
    pub(super) directory: PathBuf,
    /// Which requirements they answer.
    pub(super) hash: String,
    /// File name of pip's own wheel.
    pub(super) pip: String,
}

/// Name under which the wheels of these requirements are kept.
pub(super) fn hash(requirements: &Requirements) -> Result<String, BuildError> {
    let mut digest = Digest::new().map_err(super::context::ContextError::from)?;
    digest
        .part(b"rumi-wheels-1")
        .part(std::env::consts::ARCH.as_bytes());
    digest.part(requirements.text().as_bytes());
    Ok(digest.hex())
}

/// Finds the wheels in the state directory, or downloads them into it.
pub(super) async fn fetch(
    requirements: &Requirements,
    settings: &BuildSettings,
    state: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Wheels, BuildError> {
    let hash = hash(requirements)?;
    let parent = state.join("builds/wheels");
    let directory = parent.join(&hash);
    if !directory.is_dir() {
        let failed = |source| BuildError::Cache {
            path: parent.clone(),
            source,
        };
        fs::create_dir_all(&parent).map_err(failed)?;
        let fresh = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&parent)
            .map_err(failed)?;
        fs::write(fresh.path().join("requirements.txt"), requirements.text()).map_err(failed)?;
        progress("downloading wheels");
        download(settings, fresh.path(), progress).await?;
        // A rename, so that a download that was cut off is never taken for a whole one.
        match fs::rename(fresh.path(), &directory) {
            Ok(()) => drop(fresh.keep()),
            // Another build of the same requirements was faster.
            Err(_) if directory.is_dir() => {}
            Err(source) => return Err(failed(source)),
        }
    }
    let pip = pip_wheel(&directory).map_err(|source| BuildError::Cache {
        path: directory.clone(),
        source,
    })?;
    Ok(Wheels {
        directory,
        hash,
        pip,
    })
}

fn pip_wheel(directory: &Path) -> io::Result<String> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && name.starts_with("pip-")
            && name.ends_with(".whl")
        {
            return Ok(name.to_owned());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "there is no wheel of pip itself in it; remove the directory and build again",
    ))
}

/// `pip download` for the interpreter of the base image, whatever the host's own is.
fn arguments(directory: &Path) -> Vec<String> {
    let architecture = std::env::consts::ARCH;
    let mut arguments: Vec<String> = [
        "download",
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version=3.11",
        "--abi=cp311",
        "--abi=abi3",
        "--abi=none",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        "--no-color",
    ]
    .map(String::from)
    .to_vec();
    for minor in GLIBC_MINOR.rev() {
        arguments.push(format!("--platform=manylinux_2_{minor}_{architecture}"));
    }
    for old in ["manylinux2014", "manylinux2010", "manylinux1", "linux"] {
        arguments.push(format!("--platform={old}_{architecture}"));
    }
    arguments.push(format!("--dest={}", directory.display()));
    arguments
}

async fn download(
    settings: &BuildSettings,
    directory: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), BuildError> {
    let requirements = directory.join("requirements.txt");
    let wanted = vec!["-r".to_owned(), requirements.display().to_string()];
    pip(settings, directory, wanted, progress).await?;
    // With hashes required, pip's own wheel cannot be asked for in the same breath.
    pip(settings, directory, vec!["pip".to_owned()], progress).await
}

async fn pip(
    settings: &BuildSettings,
    directory: &Path,
    wanted: Vec<String>,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<(), BuildError> {
    let (program, leading) = settings.pip.split_first().ok_or(BuildError::NoPip {
        pip: String::new(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let no_pip = |source| BuildError::NoPip {
        pip: settings.pip.join(" "),
        source,
    };
    let mut command = Command::new(program);
    command
        .args(leading)
        .args(arguments(directory))
        .args(wanted)
        .env_clear()
        .envs(std::env::vars_os().filter(|(key, _)| key.to_str().is_some_and(passes)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(bundle) = &settings.ca_bundle {
        command.env("PIP_CERT", bundle);
    }
    let mut child = command.spawn().map_err(no_pip)?;
    let mut tail = Tail::default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (send, mut lines) = tokio::sync::mpsc::channel::<String>(64);
    let readers = [forward(stdout, send.clone()), forward(stderr, send)];
    while let Some(line) = lines.recv().await {
        tail.add(&line, progress);
    }
    drop(readers);
    let status = child.wait().await.map_err(no_pip)?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Wheels {
        output: tail.text(),
    })
}

/// What pip may see of the broker's environment: how to reach the registry, and its own
/// settings, but no secrets that happen to lie there.
fn passes(key: &str) -> bool {
    key.starts_with("PIP_")
        || key.starts_with("PYENV_")
        || matches!(
            key.to_ascii_lowercase().as_str(),
            "path"
                | "home"
                | "lang"
                | "ssl_cert_file"
                | "ssl_cert_dir"
                | "requests_ca_bundle"
                | "http_proxy"
                | "https_proxy"
                | "no_proxy"
                | "all_proxy"
                | "xdg_config_home"
                | "netrc"
        )
}

fn forward(
    from: Option<impl AsyncRead + Unpin + Send + 'static>,
    to: tokio::sync::mpsc::Sender<String>,
) -> Option<tokio::task::JoinHandle<()>> {
    let mut lines = BufReader::new(from?).lines();
    Some(tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if to.send(line).await.is_err() {
                break;
            }
        }
    }))
}
