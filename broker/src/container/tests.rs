//! Tests against the engine that runs on this host and the base image.

mod cgroups;
mod images;
mod packs;
mod sandboxes;
mod tmp;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    ContainerId, Engine, ImageId, Instance, PackLimits, PackSpec, Running, image::BASE, labels,
    labels::ComponentUser,
};

/// Stands in for the guest: an executable that needs only what the base image has.
const GUEST: &str = r#"#!/usr/bin/python3.11
import json, os, signal, subprocess, sys, time
if sys.argv[1] == "init":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("guest is up", flush=True)
    while True:
        time.sleep(3600)
elif sys.argv[1] == "worker":
    if os.path.exists("/workspace/leave"):
        sys.exit(7)
    open("/workspace/worker-%d" % os.getuid(), "w").write(sys.argv[2])
    time.sleep(3600)
elif sys.argv[1] == "enter":
    def take(count):
        taken = b""
        while len(taken) < count:
            taken += os.read(0, count - len(taken))
        return taken
    os.write(1, b"\x06")
    env = dict(pair.split(b"=", 1) for pair in take(int.from_bytes(take(4), "big")).split(b"\0") if pair)
    argv = sys.argv[sys.argv.index("--") + 1:]
    try:
        child = subprocess.Popen(argv, env=env)
    except FileNotFoundError:
        print("cannot start `%s`" % argv[0], file=sys.stderr)
        sys.exit(127)
    code = child.wait()
    sys.exit(code if code >= 0 else 128 - code)
elif sys.argv[1] == "programs":
    seen = set()
    for place in os.environ["PATH"].split(":"):
        if not os.path.isdir(place):
            continue
        for name in sorted(os.listdir(place)):
            path = os.path.join(place, name)
            print(json.dumps({"name": name, "path": path, "real": os.path.realpath(path)}))
"#;

/// A broker's place of its own, whose containers and images go away with it.
pub(super) struct Home {
    pub(super) directory: tempfile::TempDir,
    pub(super) engine: Engine,
}

impl Home {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Containers must be able to reach what is bound from here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let instance = Instance::of_state(directory.path());
        let engine = Engine::connect(Path::new("/var/run/docker.sock"), instance)
            .await
            .unwrap();
        let guest = directory.path().join("guest");
        fs::write(&guest, GUEST).unwrap();
        fs::set_permissions(&guest, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["mounts", "run", "workspace"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let workspace = fs::Permissions::from_mode(0o2777);
        fs::set_permissions(directory.path().join("workspace"), workspace).unwrap();
        super::make_shared(&fs::canonicalize(directory.path().join("run")).unwrap()).unwrap();
        Self { directory, engine }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) async fn base(&self) -> ImageId {
        let base = self.engine.image_id(BASE).await.unwrap();
        base.expect("the base image must be built before these tests: make base")
    }

    /// Starts a pack of two components made from the base image.
    pub(super) async fn up(&self, pack: &str) -> Running {
        self.try_up(pack).await.unwrap()
    }

    pub(super) async fn try_up(&self, pack: &str) -> Result<Running, super::EngineError> {
        let image = self.base().await;
        let run_dir = self.at("run").join(pack);
        fs::create_dir_all(run_dir.join("files")).unwrap();
        let component = |name, uid| ComponentUser {
            component: format!("{pack}:tool:{name}").parse().unwrap(),
            uid,
        };
        let spec = PackSpec {
            pack: &pack.parse().unwrap(),
            image: &image,
            content: "content",
            components: &[component("one", 200_001), component("two", 200_002)],
            gid: 200_000,
            limits: limits(),
            run_dir: &run_dir,
            guest: &self.at("guest"),
            workspace: &self.at("workspace"),
        };
        self.engine.up(&spec).await
    }

    /// Runs Python in a container and gives what it printed.
    pub(super) async fn python(&self, container: &ContainerId, user: &str, code: &str) -> String {
        use bollard::{exec::StartExecResults, models::ExecConfig};
        use futures_util::StreamExt as _;
        let config = ExecConfig {
            user: Some(user.into()),
            cmd: Some(vec!["/usr/bin/python3.11".into(), "-c".into(), code.into()]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self
            .engine
            .docker()
            .create_exec(container.as_str(), config)
            .await
            .unwrap();
        let started = self
            .engine
            .docker()
            .start_exec(&exec.id, None)
            .await
            .unwrap();
        let StartExecResults::Attached { mut output, .. } = started else {
            panic!("not attached")
        };
        let mut text = String::new();
        while let Some(Ok(piece)) = output.next().await {
            text.push_str(&piece.to_string());
        }
        text.trim().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let label = format!(
            "label={}={}",
            labels::INSTANCE,
            self.engine.instance().as_str()
        );
        let docker = |arguments: &[&str]| {
            let output = std::process::Command::new("docker")
                .args(arguments)
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for id in docker(&["ps", "-aq", "--filter", &label]).lines() {
            docker(&["rm", "-f", id]);
        }
        for id in docker(&["images", "-aq", "--filter", &label]).lines() {
            docker(&["rmi", "-f", id]);
        }
        let stage = format!("label={}", labels::STAGE);
        for id in docker(&[
            "images",
            "-q",
            "--filter",
            "dangling=true",
            "--filter",
            &stage,
        ])
        .lines()
        {
            let label = docker(&[
                "inspect",
                "-f",
                "{{index .Config.Labels \"rumi.stage\"}}",
                id,
            ]);
            if label.starts_with(self.engine.instance().as_str()) {
                docker(&["rmi", id]);
            }
        }
        let run = fs::canonicalize(self.at("run")).unwrap();
        rustix::mount::unmount(&run, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

pub(super) fn limits() -> PackLimits {
    PackLimits {
        memory_bytes: 128 << 20,
        nano_cpus: 1_000_000_000,
        pids: 50,
        tmp_bytes: 8 << 20,
    }
}
