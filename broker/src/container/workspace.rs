//! Packs' work areas: persistent, and bounded by a file system of their own size.
//!
//! `docker/sandbox/PACK.img` is a sparse file with an ext4 in it, mounted at
//! `docker/sandbox/PACK`. It stays mounted while the broker restarts, because the pack runs on.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rumi_policy::PackId;
use rustix::mount::{UnmountFlags, unmount};
use tokio::process::Command;

use super::{build_output::plain, mounts};

/// Smaller ones have no room for the file system's own tables.
const SMALLEST: u64 = 4 << 20;
/// How long another mount namespace may go on holding an area that was unmounted here; whoever starts a container has all
/// mounts for a moment.
const HELD: Duration = Duration::from_secs(10);
/// Where the tools of the file system lie, whatever PATH the broker was given.
const TOOLS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A work area could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The file system of the host refuses.
    #[error(
        "cannot {action} `{path}`: {source}; remedy: make room, and check that root owns docker/sandbox"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// A tool failed.
    #[error(
        "`{tool}` failed for `{path}`: {output}; remedy: check that e2fsprogs and mount are installed and that loop devices exist (`modprobe loop`), or set `workspace.allow_unlimited` in docker/config.json"
    )]
    Tool {
        /// Which.
        tool: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        output: String,
    },
    /// Files from a time without a limit would be hidden.
    #[error(
        "`{path}` holds files but has no file system of its own; remedy: move them away, start the pack, and move them back"
    )]
    Occupied {
        /// Which directory.
        path: PathBuf,
    },
    /// It is mounted somewhere else; enlarging it now would damage it.
    #[error(
        "`{path}` cannot be enlarged while another mount namespace still has it mounted; remedy: end the process that `grep -l {} /proc/[0-9]*/mountinfo` names, and start the pack again",
        .mounted.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// Where it was mounted.
        mounted: PathBuf,
    },
    /// The mount table cannot be read.
    #[error(transparent)]
    Mount(#[from] mounts::MountError),
}

/// A work area that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its directory on the host.
    pub path: PathBuf,
    /// Whether its size is limited; `false` only where the admin allows it.
    pub limited: bool,
}

/// The work areas of all packs.
#[derive(Debug, Clone)]
pub struct Workspaces {
    directory: PathBuf,
    allow_unlimited: bool,
}

impl Workspaces {
    /// Those below `docker/sandbox`.
    #[must_use]
    pub fn new(directory: PathBuf, allow_unlimited: bool) -> Self {
        Self {
            directory,
            allow_unlimited,
        }
    }

    fn paths(&self, pack: &PackId) -> (PathBuf, PathBuf) {
        let point = self.directory.join(pack.as_str());
        (point, self.directory.join(format!("{pack}.img")))
    }

    /// Makes the pack's area ready. The group may write, so all its components can.
    ///
    /// A larger size than before enlarges it; a smaller one is kept as it was, because
    /// shrinking can lose files.
    ///
    /// # Errors
    /// When it cannot be made, or cannot be limited and that is not allowed.
    pub async fn prepare(
        &self,
        pack: &PackId,
        gid: u32,
        bytes: u64,
    ) -> Result<Workspace, WorkspaceError> {
        let (point, image) = self.paths(pack);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&point)
            .map_err(failed("make", &point))?;
        let point = fs::canonicalize(&point).map_err(failed("resolve", &point))?;
        let limited = if is_mounted(&point)? {
            true
        } else {
            match self.mount(&point, &image, bytes.max(SMALLEST)).await {
                Ok(()) => true,
                Err(WorkspaceError::Tool { tool, output, .. }) if self.allow_unlimited => {
                    tracing::warn!(%pack, tool, output, "the work area has no limit");
                    false
                }
                Err(error) => return Err(error),
            }
        };
        chown(&point, Some(0), Some(gid)).map_err(failed("give to its group", &point))?;
        // The group bit on the directory: what one component makes, the others may see.
        let mode = fs::Permissions::from_mode(0o2770);
        fs::set_permissions(&point, mode).map_err(failed("set the mode of", &point))?;
        Ok(Workspace {
            path: point,
            limited,
        })
    }

    async fn mount(&self, point: &Path, image: &Path, bytes: u64) -> Result<(), WorkspaceError> {
        if !image.exists() {
            let mut entries = fs::read_dir(point).map_err(failed("list", point))?;
            if entries.next().is_some() && !self.allow_unlimited {
                return Err(WorkspaceError::Occupied {
                    path: point.to_owned(),
                });
            }
            make(image, bytes).await?;
        } else {
            enlarge(image, point, bytes).await?;
        }
        let (from, to) = (image.as_os_str(), point.as_os_str());
        let options = "loop,nosuid,nodev,noatime".as_ref();
        tool(
            "mount",
            image,
            &[
                "-t".as_ref(),
                "ext4".as_ref(),
                "-o".as_ref(),
                options,
                from,
                to,
            ],
        )
        .await?;
        let lost = point.join("lost+found");
        match fs::remove_dir(&lost) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &lost)(error))
            }
            _ => Ok(()),
        }
    }

    /// Unmounts the area after its pack was stopped; its content stays.
    ///
    /// # Errors
    /// When the kernel refuses for another reason than that it is not mounted.
    pub fn release(&self, pack: &PackId) -> Result<(), WorkspaceError> {
        let (point, _) = self.paths(pack);
        match unmount(&point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("unmount", &point)(error.into())),
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorkspaceError {
    move |source| WorkspaceError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn is_mounted(point: &Path) -> Result<bool, WorkspaceError> {
    Ok(mounts::table()?.iter().any(|line| line.point == point))
}

/// Makes the sparse file and the file system in it; under another name first, so that one cut
/// off half-way is never mounted.
async fn make(image: &Path, bytes: u64) -> Result<(), WorkspaceError> {
    let parent = image.parent().unwrap_or(Path::new("/"));
    let fresh =
        tempfile::NamedTempFile::new_in(parent).map_err(failed("make a file in", parent))?;
    fresh
        .as_file()
        .set_len(bytes)
        .map_err(failed("size", fresh.path()))?;
    let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard"];
    let mut arguments: Vec<&std::ffi::OsStr> = options.iter().map(AsRef::as_ref).collect();
    arguments.push(fresh.path().as_os_str());
    tool("mkfs.ext4", image, &arguments).await?;
    fresh
        .persist(image)
        .map_err(|error| failed("name", image)(error.error))?;
    Ok(())
}

async fn enlarge(image: &Path, point: &Path, bytes: u64) -> Result<(), WorkspaceError> {
    let size = fs::metadata(image).map_err(failed("look at", image))?.len();
    if size >= bytes {
        return Ok(());
    }
    // The kernel would go on with the tables of before, and with the old size.
    if tokio::time::timeout(HELD, let_go(image)).await.is_err() {
        return Err(WorkspaceError::Held {
            path: image.to_owned(),
            mounted: point.to_owned(),
        });
    }
    let file = fs::File::options()
        .write(true)
        .open(image)
        .map_err(failed("open", image))?;
    file.set_len(bytes).map_err(failed("enlarge", image))?;
    // It repairs what it safely can and leaves 1 then, which is fine.
    if let Err(error) = tool(
        "e2fsck",
        image,
        &["-f".as_ref(), "-p".as_ref(), image.as_os_str()],
    )
    .await
    {
        tracing::info!(%error, "the work area was checked");
    }
    tool("resize2fs", image, &[image.as_os_str()]).await
}

/// Waits until no loop device has the file.
async fn let_go(image: &Path) {
    let image = fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
    let is_held = || {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        devices
            .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
            .any(|file| Path::new(file.trim_end()) == image)
    };
    while is_held() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tool(
    name: &'static str,
    image: &Path,
    arguments: &[&std::ffi::OsStr],
) -> Result<(), WorkspaceError> {
    let refused = |output| WorkspaceError::Tool {
        tool: name,
        path: image.to_owned(),
        output,
    };
    let ran = Command::new(name)
        .args(arguments)
        .env("PATH", TOOLS)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| refused(error.to_string()))?;
    if ran.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ran.stderr);
    let words: Vec<String> = words
        .lines()
        .map(plain)
        .filter(|line| !line.is_empty())
        .collect();
    Err(refused(words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[tokio::test]
    async fn an_area_is_bounded_kept_and_enlarged() {
        let home = tempfile::tempdir().unwrap();
        let areas = Workspaces::new(home.path().into(), false);
        let pack: PackId = "p".parse().unwrap();
        let area = areas.prepare(&pack, 200_000, 8 << 20).await.unwrap();
        assert!(area.limited);
        let about = fs::metadata(&area.path).unwrap();
        assert_eq!(
            (about.uid(), about.gid(), about.mode() & 0o7777),
            (0, 200_000, 0o2770)
        );
        assert_eq!(fs::read_dir(&area.path).unwrap().count(), 0);
        fs::write(area.path.join("kept"), "yes").unwrap();
        let full = fs::write(area.path.join("large"), vec![1; 16 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        fs::remove_file(area.path.join("large")).unwrap();
        // Ready already: nothing is mounted over it.
        assert_eq!(areas.prepare(&pack, 200_000, 8 << 20).await.unwrap(), area);
        areas.release(&pack).unwrap();
        areas.release(&pack).unwrap();
        assert!(!area.path.join("kept").exists());
        areas.prepare(&pack, 200_000, 64 << 20).await.unwrap();
        assert_eq!(fs::read_to_string(area.path.join("kept")).unwrap(), "yes");
        fs::write(area.path.join("large"), vec![1; 16 << 20]).unwrap();
        areas.release(&pack).unwrap();
    }

    /// Whoever starts a container copies all mounts and keeps them for a moment.
    #[tokio::test]
    async fn an_area_that_another_namespace_holds_is_enlarged_once_it_lets_go() {
        let home = tempfile::tempdir().unwrap();
        let areas = Workspaces::new(home.path().into(), false);
        let pack: PackId = "p".parse().unwrap();
        let area = areas.prepare(&pack, 200_000, 8 << 20).await.unwrap();
        let mut holder = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("echo held; sleep 1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        let stdout = holder.stdout.as_mut().unwrap();
        io::Read::read_exact(stdout, &mut said).unwrap();
        areas.release(&pack).unwrap();
        assert!(
            !mounts::table()
                .unwrap()
                .iter()
                .any(|line| line.point == area.path)
        );
        areas.prepare(&pack, 200_000, 64 << 20).await.unwrap();
        assert!(
            holder.try_wait().unwrap().is_some(),
            "it was enlarged under its holder"
        );
        fs::write(area.path.join("large"), vec![1; 16 << 20]).unwrap();
        areas.release(&pack).unwrap();
    }

    #[tokio::test]
    async fn files_without_a_limit_are_not_hidden() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("p")).unwrap();
        fs::write(home.path().join("p/old"), "x").unwrap();
        let areas = Workspaces::new(home.path().into(), false);
        let error = areas
            .prepare(&"p".parse().unwrap(), 200_000, 8 << 20)
            .await
            .unwrap_err();
        assert!(matches!(error, WorkspaceError::Occupied { .. }));
    }
}
