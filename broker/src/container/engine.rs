//! The connection to the engine, and the names of what lives in it.

use std::{collections::BTreeSet, fmt, path::Path, sync::Arc};

use bollard::{API_DEFAULT_VERSION, Docker};

use super::{digest::Digest, error::EngineError};
use crate::config::Runtime;

/// Seconds until the head of an answer must have come. Creating containers is slow on a loaded
/// host, and the bodies of streams are not counted.
const ANSWER_SECONDS: u64 = 120;

/// The oldest interface that has everything the containers need.
const OLDEST_API: (usize, usize) = (1, 41);

macro_rules! engine_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As the engine gave it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
            pub(super) fn new(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

engine_id!(
    /// A container, by the engine's identifier.
    ContainerId
);
engine_id!(
    /// An image, by the hash of its configuration.
    ImageId
);
engine_id!(
    /// A process started in a container afterwards.
    ExecId
);

/// Tells one broker's containers from another's on the same engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance(Arc<str>);

impl Instance {
    /// Named after the state directory, because that is what a restarted broker comes back to.
    #[must_use]
    pub fn of_state(state: &Path) -> Self {
        let named = Digest::new().map(|mut digest| {
            digest.part(state.as_os_str().as_encoded_bytes());
            digest.hex()
        });
        let named = named.unwrap_or_default();
        Self(named.get(..12).unwrap_or("default").into())
    }
    /// Twelve hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the engine said about itself when it was connected.
#[derive(Debug, Clone)]
pub struct EngineFacts {
    /// Version of the engine.
    pub engine_version: String,
    /// Version of the interface in use.
    pub api_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Such as `overlay2`.
    pub storage_driver: String,
    /// Whether system calls can be filtered; without it packs are not started.
    pub seccomp: bool,
    /// Where the engine keeps images and containers.
    pub root_dir: String,
    /// What it runs a container under that names nothing.
    pub default_runtime: String,
    /// What it can run containers under.
    pub runtimes: BTreeSet<String>,
    /// What the engine itself complains of.
    pub warnings: Vec<String>,
}

/// A connected engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    facts: Arc<EngineFacts>,
    instance: Instance,
    runtime: Option<Runtime>,
}

impl Engine {
    /// Connects and agrees on a version of the interface.
    ///
    /// # Errors
    /// When nothing answers, or the engine is too old.
    pub async fn connect(socket: &Path, instance: Instance) -> Result<Self, EngineError> {
        let unreachable = |source| EngineError::Unreachable {
            socket: socket.to_owned(),
            source,
        };
        let path = socket.to_str().ok_or_else(|| EngineError::Path {
            path: socket.to_owned(),
        })?;
        let docker = Docker::connect_with_unix(path, ANSWER_SECONDS, API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        let version = docker.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(EngineError::TooOld {
                socket: socket.to_owned(),
                found: version.to_string(),
            });
        }
        let info = docker.info().await.map_err(unreachable)?;
        let facts = EngineFacts {
            engine_version: info.server_version.unwrap_or_default(),
            api_version: version.to_string(),
            cgroup_driver: info
                .cgroup_driver
                .map(|driver| driver.to_string())
                .unwrap_or_default(),
            cgroup_version: info
                .cgroup_version
                .map(|version| version.to_string())
                .unwrap_or_default(),
            storage_driver: info.driver.unwrap_or_default(),
            seccomp: info
                .security_options
                .unwrap_or_default()
                .iter()
                .any(|option| option.contains("name=seccomp")),
            root_dir: info.docker_root_dir.unwrap_or_default(),
            default_runtime: info.default_runtime.unwrap_or_default(),
            runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
            warnings: info.warnings.unwrap_or_default(),
        };
        Ok(Self {
            docker,
            facts: Arc::new(facts),
            instance,
            runtime: None,
        })
    }

    /// The same engine, whose containers run under this runtime from now on, or under its own choice.
    ///
    /// # Errors
    /// When the engine has no such runtime. There is no other in its place.
    pub fn under(self, runtime: Option<Runtime>) -> Result<Self, EngineError> {
        if let Some(missing) = runtime
            .as_ref()
            .filter(|wanted| !self.facts.runtimes.contains(wanted.as_str()))
        {
            return Err(EngineError::NoRuntime {
                runtime: missing.to_string(),
                known: Vec::from_iter(self.facts.runtimes.iter().cloned()).join("`, `"),
            });
        }
        Ok(Self { runtime, ..self })
    }

    /// What its containers run under.
    #[must_use]
    pub fn runtime(&self) -> &str {
        let wanted = self.runtime.as_ref().map(Runtime::as_str);
        wanted.unwrap_or(&self.facts.default_runtime)
    }

    /// What the engine is told of it.
    pub(super) fn named_runtime(&self) -> Option<String> {
        self.runtime.as_ref().map(ToString::to_string)
    }

    /// What the engine said about itself.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// Whose containers these are.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), EngineError> {
        let answer = self.docker.ping().await;
        answer
            .map(drop)
            .map_err(EngineError::call("answer", "ping"))
    }

    /// The identifier behind a name, or `None` where there is no such image.
    ///
    /// # Errors
    /// When the engine fails for another reason.
    pub async fn image_id(&self, reference: &str) -> Result<Option<ImageId>, EngineError> {
        let answer = self.docker.inspect_image(reference).await;
        match answer.map_err(EngineError::call("inspect", reference)) {
            Ok(image) => {
                image
                    .id
                    .map(|id| Some(ImageId::new(&id)))
                    .ok_or_else(|| EngineError::Incomplete {
                        subject: reference.to_owned(),
                        field: "identifier",
                    })
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
