//! The directories of one broker, in a place of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{Output, binary, janitor::Janitor, repository};

/// A home like the repository's, a state, a directory for sockets and one for data. All of
/// it, with every container and mount, is removed when the value is dropped.
#[derive(Debug)]
pub struct Home {
    base: PathBuf,
    _janitor: Janitor,
}

/// Who owns the data: neither root nor a component.
pub const OWNER: u32 = 54_321;

impl Home {
    /// Shipped settings and scopes, the pack `probe`, no grants.
    #[must_use]
    pub fn new() -> Self {
        let made = tempfile::Builder::new()
            .prefix("rumi-test-")
            .tempdir_in("/tmp");
        let base = made.expect("a temporary directory").keep();
        let home = Self {
            _janitor: Janitor::hire(&base, &instance(&base.join("state"))),
            base,
        };
        // Components must be able to reach their sockets.
        fs::set_permissions(&home.base, fs::Permissions::from_mode(0o755)).expect("chmod");
        for directory in [
            "docker/packs",
            "docker/sandbox",
            "docker/handlers",
            "grants",
            "scopes",
        ] {
            fs::create_dir_all(home.path().join(directory)).expect("mkdir");
        }
        for file in ["docker/config.json", "docker/seccomp.json"] {
            fs::copy(repository().join(file), home.path().join(file))
                .expect("the shipped settings");
        }
        copy_tree(&repository().join("scopes"), &home.path().join("scopes"));
        home.data("");
        home.take_pack("tests/packs/probe");
        home
    }

    /// Everything of this fixture lies below it.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }
    /// What `--home` is given.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.base.join("home")
    }
    /// What `--state` is given.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.base.join("state")
    }
    /// What `--run` is given.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.base.join("run")
    }
    /// The label of all containers of this home's broker.
    #[must_use]
    pub fn instance(&self) -> String {
        instance(&self.state())
    }

    /// A directory for data, made where it is missing, owned by [`OWNER`].
    pub fn data(&self, name: &str) -> PathBuf {
        let path = self.base.join("data").join(name);
        fs::create_dir_all(&path).expect("mkdir");
        chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
        // Without the slash that joining an empty name leaves.
        path.components().collect()
    }

    /// Writes a file of data, owned by [`OWNER`], and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.base.join("data").join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("mkdir");
            chown(parent, Some(OWNER), Some(OWNER)).expect("chown");
        }
        fs::write(&path, content).expect("write");
        chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
        path
    }

    /// Changes docker/config.json.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("docker/config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write");
    }

    /// Where a pack lies.
    #[must_use]
    pub fn pack(&self, id: &str) -> PathBuf {
        self.path().join("docker/packs").join(id)
    }

    /// Copies a pack out of the repository, e.g. `docker/packs/default`.
    pub fn take_pack(&self, from: &str) {
        let from = repository().join(from);
        let id = from.file_name().expect("the name of a pack");
        copy_tree(&from, &self.path().join("docker/packs").join(id));
    }

    /// Writes a pack of one tool, `<id>:tool:run`, from its source.
    pub fn write_pack(&self, id: &str, source: &str) {
        self.write_file(&format!("docker/packs/{id}/tool.py"), source);
        self.write_manifest(id, &Self::manifest(id));
    }

    /// The manifest that [`Home::write_pack`] writes.
    #[must_use]
    pub fn manifest(id: &str) -> Value {
        json!({
            "id": id, "version": "1.0.0", "description": "A test's own pack.",
            "components": [{
                "id": format!("{id}:tool:run"), "name": "run", "runner": "python",
                "entry": "tool.py", "description": "The only one.",
            }],
        })
    }

    /// Writes a pack's manifest.
    pub fn write_manifest(&self, id: &str, manifest: &Value) {
        self.write_file(
            &format!("docker/packs/{id}/pack.json"),
            &manifest.to_string(),
        );
    }

    /// Writes a file below the home.
    pub fn write_file(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    /// Where a component's grant lies.
    #[must_use]
    pub fn grant_file(&self, component: &str) -> PathBuf {
        self.path().join(format!("grants/{component}.json"))
    }

    /// Gives a component these permissions and no others.
    pub fn grant(&self, component: &str, permissions: &Value) {
        let grant = json!({"component_id": component, "permissions": permissions});
        // Renamed into its place, so that no reader ever sees half of it.
        let half = self.path().join(format!("grants/.{component}.half"));
        fs::write(&half, grant.to_string()).expect("write");
        fs::rename(half, self.grant_file(component)).expect("rename");
    }

    /// Takes a component's grant away.
    pub fn ungrant(&self, component: &str) {
        fs::remove_file(self.grant_file(component)).expect("remove");
    }

    /// Runs packctl on these directories.
    pub fn packctl(&self, arguments: &[&str]) -> Output {
        Output::of(
            self.placed(&mut std::process::Command::new(binary("packctl")))
                .env("NO_COLOR", "1")
                .args(arguments),
        )
    }

    /// Runs packctl on these directories and gives it this to read.
    pub fn packctl_fed(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
        Output::fed(
            self.placed(&mut std::process::Command::new(binary("packctl")))
                .env("NO_COLOR", "1")
                .args(arguments),
            input.as_ref(),
        )
    }

    /// Tells a program of these directories by its environment.
    pub fn placed<'a>(
        &self,
        command: &'a mut std::process::Command,
    ) -> &'a mut std::process::Command {
        command
            .env("RUMI_HOME", self.path())
            .env("RUMI_STATE", self.state())
            .env("RUMI_RUN", self.run())
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// As the broker names itself after its state directory.
#[must_use]
pub fn instance(state: &Path) -> String {
    let state = state.as_os_str().as_encoded_bytes();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    digest.update(&(state.len() as u64).to_be_bytes());
    digest.update(state);
    let hex = digest.finish();
    hex.as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    for entry in fs::read_dir(from).expect("a directory of the repository") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}
