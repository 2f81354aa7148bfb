//! A home, a state and a broker of the bench's own, removed without a trace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rumi_proto::v1::{self, control_client::ControlClient, progress};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{
    engine,
    failure::Failure,
    home::{self, Settings},
    socket,
    web::Web,
};

/// Packs of a whole run.
pub const PACKS: usize = 20;
/// The pack that stands beside the first. What it may read below `/files`, the kernel reads by itself.
pub const SECOND: usize = 1;
/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done to packs.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Build,
    Up,
    Down,
}

/// Where all that lies.
#[derive(Debug)]
pub struct Stage {
    dir: TempDir,
    broker: Option<Child>,
    binaries: PathBuf,
    packs: usize,
    shipped: u64,
    web: Arc<Web>,
    containers: Vec<String>,
    images: Vec<String>,
}

/// Name of a pack.
pub fn pack(number: usize) -> String {
    format!("bench_{number:02}")
}

/// Its only component.
pub fn component(number: usize) -> String {
    format!("{}:tool:answer", pack(number))
}

/// What a runtime prints that is started with one argument of this value.
pub fn answer(n: usize) -> String {
    format!(r#"{{"n":{n}}}"#)
}

impl Stage {
    /// Makes the directories; no broker runs yet.
    pub fn new(
        repository: &Path,
        binaries: &Path,
        packs: usize,
        web: Arc<Web>,
    ) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("rumi-bench-").tempdir();
        let dir = dir.map_err(Failure::file("the temporary directory"))?;
        // The component's uid must be able to reach its socket and the bare server's.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), open).map_err(Failure::file(dir.path()))?;
        let data = dir.path().join("data");
        fs::create_dir(&data).map_err(Failure::file(&data))?;
        // What is to be written is written into memory: the disk is not what is measured. It is
        // unmounted with all else.
        let memory = dir.path().join("memory");
        fs::create_dir(&memory).map_err(Failure::file(&memory))?;
        let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
        rustix::mount::mount("tmpfs", &memory, "tmpfs", flags, None).map_err(|source| {
            Failure::Kernel {
                action: "mount a file system in memory",
                source,
            }
        })?;
        let granted = [data.as_path(), &memory];
        let home = dir.path().join("home");
        let shipped = home::make(repository, &home, &granted, packs, &web)?;
        Ok(Self {
            dir,
            broker: None,
            binaries: binaries.to_owned(),
            packs,
            shipped,
            web,
            containers: Vec::new(),
            images: Vec::new(),
        })
    }

    /// The directory of everything.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that the first component may read.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A directory in memory that the first component may read and write.
    pub fn memory(&self) -> PathBuf {
        self.path().join("memory")
    }

    /// How many packs the shipped configuration starts at once.
    pub fn shipped_concurrency(&self) -> u64 {
        self.shipped
    }

    /// The settings as they are shipped.
    pub fn shipped(&self) -> Settings {
        Settings {
            at_once: self.shipped,
            processors: None,
        }
    }

    /// All packs by name.
    pub fn packs(&self) -> Vec<String> {
        (0..self.packs).map(pack).collect()
    }

    /// Containers that were started last.
    pub fn containers(&self) -> &[String] {
        &self.containers
    }

    /// The only container that was started last.
    pub fn first_container(&self) -> Result<&str, Failure> {
        let none = || Failure::Unexpected("no pack is up".to_owned());
        self.containers.first().map(String::as_str).ok_or_else(none)
    }

    /// The internet of the measured broker.
    pub fn web(&self) -> &Web {
        &self.web
    }

    /// The broker's process.
    pub fn broker_pid(&self) -> Result<u32, Failure> {
        let none = || Failure::Unexpected("no broker runs".to_owned());
        self.broker.as_ref().map(Child::id).ok_or_else(none)
    }

    /// The socket of the first component.
    pub fn component_socket(&self) -> PathBuf {
        let socket = format!("run/packs/{}/{}.sock", pack(0), component(0));
        self.path().join(socket)
    }

    /// The uid of a pack's component, which must be up.
    pub async fn component_uid(&self, number: usize) -> Result<u32, Failure> {
        let request = v1::PsRequest {
            packs: vec![pack(number)],
        };
        let status = self.control().await?.ps(request).await?.into_inner();
        let mut components = status.packs.into_iter().flat_map(|pack| pack.components);
        let none = || Failure::Unexpected("the pack is not up".to_owned());
        Ok(components.next().ok_or_else(none)?.uid)
    }

    /// Starts a broker with these settings.
    pub async fn start(&mut self, settings: Settings) -> Result<(), Failure> {
        home::set(&self.path().join("home"), settings)?;
        let log = self.path().join("broker.log");
        let log = fs::File::create(&log).map_err(Failure::file(&log))?;
        let program = self.binaries.join("rumi-broker");
        let base = self.path().to_owned();
        let at = |name: &str| base.join(name);
        let started = Command::new(&program)
            .args(["--home".as_ref(), at("home").as_os_str()])
            .args(["--state".as_ref(), at("state").as_os_str()])
            .args(["--run".as_ref(), at("run").as_os_str()])
            .env("SSL_CERT_FILE", self.web.bundle())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.broker = Some(started.map_err(|source| Failure::Program {
            program: program.display().to_string(),
            source,
        })?);
        let deadline = Instant::now() + PATIENCE;
        while self.control().await.is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(at("broker.log")).unwrap_or_default();
                return Err(Failure::Unexpected(format!(
                    "the broker does not answer: {log}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends the broker in the ordinary way.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut broker) = self.broker.take() else {
            return Ok(());
        };
        let pid = rustix::process::Pid::from_child(&broker);
        let sent = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        sent.map_err(|source| Failure::Kernel {
            action: "end the broker",
            source,
        })?;
        broker.wait().map(drop).map_err(Failure::file("the broker"))
    }

    /// The broker's control service.
    pub async fn control(&self) -> Result<ControlClient<Channel>, Failure> {
        let path = self.path().join("run/control.sock");
        Ok(ControlClient::new(socket::channel(&path).await?))
    }

    /// Does a step to packs and says how long all of them took.
    pub async fn each(&mut self, step: Step, packs: &[String]) -> Result<Duration, Failure> {
        let mut control = self.control().await?;
        let request = v1::PacksRequest {
            packs: packs.to_vec(),
            // The bench wrote them.
            approve: true,
        };
        let started = Instant::now();
        let mut told = match step {
            Step::Build => control.build(request).await?,
            Step::Up => control.up(request).await?,
            Step::Down => control.down(request).await?,
        }
        .into_inner();
        let mut done = Vec::new();
        while let Some(progress) = told.message().await? {
            match progress.result {
                Some(progress::Result::Done(end)) => done.push(end),
                Some(progress::Result::Failed(failed)) => {
                    return Err(Failure::Unexpected(format!(
                        "{}: {}",
                        progress.pack, failed.message
                    )));
                }
                Some(progress::Result::NotApproved(review)) => {
                    return Err(Failure::Unexpected(format!(
                        "{} was not approved",
                        review.pack
                    )));
                }
                None => {}
            }
        }
        let elapsed = started.elapsed();
        if matches!(step, Step::Up) {
            self.containers = done.iter().map(|end| end.container_id.clone()).collect();
        }
        // `up` builds what was not built before; what is built is removed in the end.
        for end in done.into_iter().filter(|end| !end.image_id.is_empty()) {
            if !self.images.contains(&end.image_id) {
                self.images.push(end.image_id);
            }
        }
        Ok(elapsed)
    }

    /// The broker starts handlers by itself, so that nobody is told of their containers.
    fn find_handlers(&mut self) -> Result<(), Failure> {
        let instance = rumi_tests::instance(&self.path().join("state"));
        let (label, images) = (
            format!("label=rumi.instance={instance}"),
            format!("reference=rumi-pack:{instance}-handler-*"),
        );
        let containers = engine::docker(&["ps", "--all", "--quiet", "--filter", &label])?;
        let images = engine::docker(&["images", "--quiet", "--filter", &images])?;
        self.containers
            .extend(containers.lines().map(str::to_owned));
        self.images.extend(images.lines().map(str::to_owned));
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Failure> {
        self.stop()?;
        self.find_handlers()?;
        for (what, ids) in [("rm", &self.containers), ("rmi", &self.images)] {
            for id in ids {
                match engine::docker(&[what, "--force", id]) {
                    Err(Failure::Ended { said, .. }) if said.contains("No such") => {}
                    other => drop(other?),
                }
            }
        }
        unmount(self.path())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!(
                "rumi-bench: `{}` is left: {}",
                self.path().display(),
                error.in_full()
            );
        }
    }
}

/// Work areas and the socket directory are mounts; the last made is the first to go.
fn unmount(below: &Path) -> Result<(), Failure> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(Failure::file(table))?;
    let points = text.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(below)) {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).map_err(|source| {
            Failure::Kernel {
                action: "unmount what the bench had mounted",
                source,
            }
        })?;
    }
    Ok(())
}
