//! Where things lie on the host, and the checks that the places are fit for use.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rumi_policy::{AbsPath, ComponentId, PackId};

/// The three directories of a broker, absolute and without symlinks.
#[derive(Debug, Clone)]
pub struct Layout {
    home: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The directory of the project is not there.
    #[error(
        "cannot use home `{path}`; give --home a directory that holds docker/, grants/ and scopes/"
    )]
    Home {
        /// As given.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// A directory could not be made.
    #[error(
        "cannot make `{path}`; run as root, or give --state and --run directories you may write"
    )]
    Create {
        /// As given.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// A directory that others may write would let them replace sockets and keys.
    #[error(
        "`{path}` may be written by others than root; remedy: chown root `{path}` && chmod go-w `{path}`"
    )]
    Writable {
        /// As given.
        path: PathBuf,
    },
}

impl Layout {
    /// Makes what is missing and resolves the three directories.
    ///
    /// # Errors
    /// When one is missing, cannot be made, or may be written by others.
    pub fn prepare(home: &Path, state: &Path, run: &Path) -> Result<Self, LayoutError> {
        let home = fs::canonicalize(home).map_err(|source| LayoutError::Home {
            path: home.to_owned(),
            source,
        })?;
        let state = Self::own_directory(state, 0o700)?;
        let run = Self::own_directory(run, 0o755)?;
        let layout = Self { home, state, run };
        for (path, mode) in [
            (layout.packs_run(), 0o755),
            (layout.mounts(), 0o700),
            (layout.keys(), 0o700),
            (layout.authorities(), 0o700),
            (layout.audit(), 0o700),
            (layout.log(), 0o700),
            (layout.quota(), 0o700),
            (layout.usage(), 0o700),
            (layout.handler_packs(), 0o700),
            (layout.approvals(), 0o700),
        ] {
            Self::own_directory(&path, mode)?;
        }
        Ok(layout)
    }

    fn own_directory(path: &Path, mode: u32) -> Result<PathBuf, LayoutError> {
        let create = |source| LayoutError::Create {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .map_err(create)?;
        let real = fs::canonicalize(path).map_err(create)?;
        let metadata = fs::metadata(&real).map_err(create)?;
        if metadata.mode() & 0o022 != 0 {
            return Err(LayoutError::Writable { path: real });
        }
        Ok(real)
    }

    /// The directory that holds docker/, grants/ and scopes/.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }
    /// The directory of what must survive a restart.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }
    /// The directory of sockets.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }
    /// One JSON file a component.
    #[must_use]
    pub fn grants(&self) -> PathBuf {
        self.home.join("grants")
    }
    /// One JSON file a permission.
    #[must_use]
    pub fn scopes(&self) -> PathBuf {
        self.home.join("scopes")
    }
    /// One directory a pack.
    #[must_use]
    pub fn packs(&self) -> PathBuf {
        self.home.join("docker/packs")
    }
    /// The directory that holds a pack: the admin's, or the broker's own where the pack is
    /// made of a custom handler. Their names cannot meet.
    #[must_use]
    pub fn packs_of(&self, pack: &PackId) -> PathBuf {
        if pack.is_reserved() {
            self.handler_packs()
        } else {
            self.packs()
        }
    }
    /// The packs that are made of custom handlers.
    #[must_use]
    pub fn handler_packs(&self) -> PathBuf {
        self.state.join("handlers")
    }
    /// One Python file a custom handler.
    #[must_use]
    pub fn handlers(&self) -> PathBuf {
        self.home.join("docker/handlers")
    }
    /// Limits and run-time settings.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.join("docker/config.json")
    }
    /// The admin's socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
    /// Parent of all packs' socket directories; a shared mount of its own.
    #[must_use]
    pub fn packs_run(&self) -> PathBuf {
        self.run.join("packs")
    }
    /// What a pack's container sees as /run/rumi.
    #[must_use]
    pub fn pack_run(&self, pack: &PackId) -> PathBuf {
        self.packs_run().join(pack.as_str())
    }
    /// What a pack's container sees as /files.
    #[must_use]
    pub fn pack_files(&self, pack: &PackId) -> PathBuf {
        self.pack_run(pack).join("files")
    }
    /// The socket that is the component's identity.
    #[must_use]
    pub fn component_socket(&self, component: &ComponentId) -> PathBuf {
        self.pack_run(&component.pack())
            .join(format!("{component}.sock"))
    }
    /// The programs of a component's own, seen as the first directory of its `PATH`.
    #[must_use]
    pub fn component_programs(&self, component: &ComponentId) -> PathBuf {
        self.pack_run(&component.pack())
            .join("bin")
            .join(component.name_in_path())
    }
    /// The certificate authorities that a component's programs are told to trust.
    #[must_use]
    pub fn component_ca(&self, component: &ComponentId) -> PathBuf {
        self.pack_run(&component.pack())
            .join("ca")
            .join(format!("{component}.pem"))
    }
    /// Makes the directories that a component finds in its container.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn prepare_component(&self, component: &ComponentId) -> io::Result<()> {
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true).mode(0o755);
        if let Some(authorities) = self.component_ca(component).parent() {
            maker.create(authorities)?;
        }
        maker.create(self.component_programs(component))
    }
    /// Where checked directories are bound for terminal sandboxes.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.run.join("mounts")
    }
    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }
    /// Signing keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }
    /// Diagnostics and the record of executions.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }
    /// What components have made, one file a component.
    #[must_use]
    pub fn quota(&self) -> PathBuf {
        self.state.join("quota")
    }
    /// How often grants were used, one file a component.
    #[must_use]
    pub fn usage(&self) -> PathBuf {
        self.state.join("usage")
    }
    /// Keys of the components' own certificate authorities.
    #[must_use]
    pub fn authorities(&self) -> PathBuf {
        self.state.join("authorities")
    }
    /// The key of one component's.
    #[must_use]
    pub fn authority_key(&self, component: &ComponentId) -> PathBuf {
        self.authorities().join(format!("{component}.key"))
    }
    /// What admins have approved, one file a pack.
    #[must_use]
    pub fn approvals(&self) -> PathBuf {
        self.state.join("approvals")
    }
    /// Secret values, sealed.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets.sealed")
    }
    /// Secret values as earlier versions kept them; taken over at the start.
    #[must_use]
    pub fn plain_secrets(&self) -> PathBuf {
        self.state.join("secrets.json")
    }

    /// The broker's own places, refused to every pack even inside a grant.
    #[must_use]
    pub fn protected(&self) -> Vec<AbsPath> {
        [
            self.state.clone(),
            self.run.clone(),
            self.grants(),
            self.scopes(),
            self.home.join("docker"),
        ]
        .iter()
        .filter_map(|path| path.to_str().and_then(|text| text.parse().ok()))
        .collect()
    }
}
