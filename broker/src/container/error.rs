//! What can go wrong between the broker and the engine.

use std::{io, path::PathBuf};

use super::engine::ImageId;

/// A call to the engine that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers at the socket.
    #[error(
        "no Docker engine answers at `{socket}`: {source}; remedy: start it (`systemctl start docker`, or `dockerd` where there is no systemd), or name its socket with --docker"
    )]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// From the client library.
        source: bollard::errors::Error,
    },
    /// The engine is older than what the containers need.
    #[error(
        "the engine at `{socket}` speaks API {found}; remedy: install Docker 20.10 (API 1.41) or later"
    )]
    TooOld {
        /// Where it was found.
        socket: PathBuf,
        /// What it speaks.
        found: String,
    },
    /// The engine has no such runtime.
    #[error(
        "the engine has no runtime `{runtime}`, which docker/config.json names; it has `{known}`; remedy: add it to the engine (/etc/docker/daemon.json) and restart that, or change `runtime`"
    )]
    NoRuntime {
        /// What was wanted.
        runtime: String,
        /// What there is.
        known: String,
    },
    /// The engine took another runtime than it was told.
    #[error(
        "the engine runs container `{container}` under `{found}` where `{wanted}` was wanted; remedy: check `docker info`, and `runtime` in docker/config.json"
    )]
    OtherRuntime {
        /// Which one; it is removed.
        container: String,
        /// What the engine says of it.
        found: String,
        /// What it was told.
        wanted: String,
    },
    /// One call failed.
    #[error("the engine did not {action} `{subject}`: {source}")]
    Call {
        /// What was asked for.
        action: &'static str,
        /// Of what.
        subject: String,
        /// From the client library.
        source: bollard::errors::Error,
    },
    /// The engine's answer lacks what it must hold.
    #[error(
        "the engine's answer about `{subject}` has no {field}; remedy: check `docker version`, and `packctl doctor`"
    )]
    Incomplete {
        /// About what it was asked.
        subject: String,
        /// What is missing.
        field: &'static str,
    },
    /// The image is not there.
    #[error("there is no image `{reference}`; remedy: {}", builder_of(reference))]
    NoImage {
        /// As it was asked for.
        reference: String,
    },
    /// The container of this pack runs already.
    #[error(
        "pack `{pack}` runs already in container `{container}`; remedy: `packctl down {pack}` first"
    )]
    AlreadyUp {
        /// Which pack.
        pack: String,
        /// Its container.
        container: String,
    },
    /// A container ended before it was ready.
    #[error(
        "container `{container}` ended at once with exit code {exit_code}; its last words: {last_words}"
    )]
    EndedAtOnce {
        /// Which.
        container: String,
        /// Its code.
        exit_code: i64,
        /// End of its output.
        last_words: String,
    },
    /// The image's index of programs could not be made.
    #[error(
        "cannot list the programs of image `{image}`: {reason}; remedy: check that the guest binary is the one built with this broker"
    )]
    Programs {
        /// Which image.
        image: ImageId,
        /// Why.
        reason: String,
    },
    /// A path that Docker's interface cannot carry.
    #[error("`{path}` cannot be given to the engine: it is not UTF-8; remedy: rename it")]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// Making or removing the mount of a checked directory failed.
    #[error(transparent)]
    Mount(#[from] super::mounts::MountError),
    /// A container has more of a network than its loopback.
    #[error(
        "container `{container}` has another network than its own loopback, and is removed; remedy: check `docker version`, and `runtime` in docker/config.json"
    )]
    Networked {
        /// Which.
        container: String,
    },
    /// What a container shares with the host cannot be seen.
    #[error("cannot look at the network of container `{container}`: {source}")]
    Network {
        /// Which.
        container: String,
        /// From the kernel.
        source: io::Error,
    },
    /// The files by which programs find names cannot be written.
    #[error("cannot write `{path}`: {source}; remedy: see that there is room in the run directory")]
    Names {
        /// Which file.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
    /// Writing to a container failed.
    #[error("cannot talk to container `{container}`: {source}")]
    Stream {
        /// Which.
        container: String,
        /// From the connection.
        source: io::Error,
    },
}

impl EngineError {
    /// Wraps an error of the client library with what was being done.
    pub(super) fn call(
        action: &'static str,
        subject: impl Into<String>,
    ) -> impl FnOnce(bollard::errors::Error) -> Self {
        let subject = subject.into();
        move |source| Self::Call {
            action,
            subject,
            source,
        }
    }

    /// Whether the engine said that the thing does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Call { source, .. } if status(source) == Some(404))
    }

    /// Whether the engine said that the thing is in use or being removed.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { source, .. } if status(source) == Some(409))
    }
}

/// How an image is made, by its name.
fn builder_of(reference: &str) -> String {
    let name = reference.strip_suffix(":latest").unwrap_or(reference);
    match name {
        "rumi-base" => "`make base` builds it".to_owned(),
        "rumi-tools" | "rumi-node" => {
            let kind = name.trim_start_matches("rumi-");
            format!("`docker/base/build {kind}` builds it")
        }
        _ => "`make base` builds the base image, `packctl build` the packs'".to_owned(),
    }
}

fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
