//! Where a container's control groups lie: v2, v1, or v1 with an empty v2 beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal},
};

use super::{CgroupError, read, write};
use crate::container::mounts::{self, MountLine};

/// Group below the container's own on v2, where its processes live: a group that divides
/// its resources may have no processes itself.
const LEAF: &str = "rumi-init";
/// Prefix of calls' groups, by which an earlier broker's are found.
pub const CALL_PREFIX: &str = "rumi-call-";
/// How long processes may keep appearing in a group that is being emptied.
const PATIENCE: Duration = Duration::from_secs(2);

/// The directories that stand for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerCgroup {
    pub(super) layout: Layout,
    /// Path of the container's group as /proc shows it, in the hierarchy that counts memory.
    path: String,
}

/// The hierarchies of the host, with the container's directory in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// One hierarchy for all.
    V2 { dir: PathBuf },
    /// One a controller.
    V1 {
        memory: PathBuf,
        pids: PathBuf,
        cpuacct: Option<PathBuf>,
        killer: Killer,
    },
}

/// How all processes of a group are ended on v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Killer {
    /// An empty v2 beside v1 tracks processes and can kill them in one stroke.
    Unified(PathBuf),
    /// Processes are frozen first, so that none escapes by forking.
    Freezer(PathBuf),
}

impl ContainerCgroup {
    /// Finds the groups of the container whose PID 1 has this pid on the host.
    ///
    /// # Errors
    /// When the process is gone or the host lacks a controller.
    pub fn of_init(pid: i32) -> Result<Self, CgroupError> {
        let text = proc_cgroup(pid)?;
        let table = mounts::table().map_err(|error| CgroupError::File {
            action: "read",
            path: "/proc/self/mountinfo".into(),
            source: std::io::Error::other(error),
        })?;
        Self::from_tables(pid, &text, &table)
    }

    fn from_tables(pid: i32, text: &str, table: &[MountLine]) -> Result<Self, CgroupError> {
        let memory = group_path(text, Some("memory"));
        let unified = group_path(text, None);
        if let Some(path) = memory {
            let v1 = |controller: &'static str| {
                let path = group_path(text, Some(controller))?;
                directory(table, Some(controller), path)
            };
            let need =
                |controller| v1(controller).ok_or(CgroupError::NoController { controller, pid });
            // A container that lives in the root of v2 has no group there to hang calls below.
            let unified = unified
                .filter(|path| *path != "/")
                .and_then(|path| directory(table, None, path));
            let killer = match unified.filter(|dir| dir.join("cgroup.kill").exists()) {
                Some(dir) => Killer::Unified(dir),
                None => Killer::Freezer(need("freezer")?),
            };
            return Ok(Self {
                layout: Layout::V1 {
                    memory: need("memory")?,
                    pids: need("pids")?,
                    cpuacct: v1("cpuacct"),
                    killer,
                },
                path: without_leaf(path).to_owned(),
            });
        }
        let missing = CgroupError::NoController {
            controller: "memory",
            pid,
        };
        let Some(path) = unified.map(without_leaf).filter(|path| *path != "/") else {
            return Err(missing);
        };
        let dir = directory(table, None, path).ok_or(missing)?;
        Ok(Self {
            layout: Layout::V2 { dir },
            path: path.to_owned(),
        })
    }

    /// Makes it possible to hang calls' groups below the container's. On v2 its processes
    /// move into a leaf first; the engine's later `exec`s follow PID 1 there. Doing it again
    /// changes nothing.
    ///
    /// # Errors
    /// When processes keep appearing, or the kernel refuses.
    pub fn prepare(&self) -> Result<(), CgroupError> {
        let Layout::V2 { dir } = &self.layout else {
            return Ok(());
        };
        let wanted = read(&dir.join("cgroup.subtree_control"))?;
        if ["memory", "pids"]
            .iter()
            .all(|name| wanted.split_whitespace().any(|on| on == *name))
        {
            return Ok(());
        }
        let leaf = dir.join(LEAF);
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(CgroupError::file("make", &leaf)(error));
            }
            _ => {}
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let processes = read(&dir.join("cgroup.procs"))?;
            for pid in processes.lines() {
                match write(&leaf.join("cgroup.procs"), pid) {
                    // It ended between the list and the move.
                    Err(CgroupError::File { source, .. }) if is(&source, Errno::SRCH) => {}
                    other => other?,
                }
            }
            match write(&dir.join("cgroup.subtree_control"), "+memory +pids") {
                // A process was forked in the meantime.
                Err(CgroupError::File { source, .. })
                    if is(&source, Errno::BUSY) && Instant::now() < end => {}
                other => return other,
            }
        }
    }

    /// Whether the process lives in the container.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn contains(&self, pid: i32) -> Result<bool, CgroupError> {
        let text = proc_cgroup(pid)?;
        let controller = match self.layout {
            Layout::V1 { .. } => Some("memory"),
            Layout::V2 { .. } => None,
        };
        Ok(group_path(&text, controller).is_some_and(|path| {
            path.strip_prefix(&self.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }))
    }

    /// Ends and removes groups of calls that an earlier broker left; their number.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep(&self) -> Result<usize, CgroupError> {
        let mut names = std::collections::BTreeSet::new();
        for dir in self.directories() {
            for entry in fs::read_dir(&dir).map_err(CgroupError::file("list", &dir))? {
                let name = entry.map_err(CgroupError::file("list", &dir))?.file_name();
                if let Some(name) = name
                    .to_str()
                    .and_then(|name| name.strip_prefix(CALL_PREFIX))
                {
                    names.insert(name.to_owned());
                }
            }
        }
        for name in &names {
            let mut call = super::CallCgroup::existing(self, name);
            let end = Instant::now() + PATIENCE;
            while !call.is_empty() {
                call.kill()?;
                if Instant::now() >= end {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            call.remove()?;
        }
        Ok(names.len())
    }

    /// The container's directory in each hierarchy that a call needs a group in.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        match &self.layout {
            Layout::V2 { dir } => vec![dir.clone()],
            Layout::V1 {
                memory,
                pids,
                killer,
                ..
            } => {
                let (Killer::Unified(killer) | Killer::Freezer(killer)) = killer;
                let mut dirs = vec![memory.clone(), pids.clone(), killer.clone()];
                // Controllers can share one hierarchy.
                dirs.dedup();
                dirs
            }
        }
    }
}

pub(super) fn is(error: &std::io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

fn proc_cgroup(pid: i32) -> Result<String, CgroupError> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound || is(&error, Errno::SRCH) => {
            Err(CgroupError::Gone { pid })
        }
        Err(error) => Err(CgroupError::file("read", &path)(error)),
    }
}

/// The path after `N:controllers:` in /proc/PID/cgroup; `None` asks for v2, `0::`.
fn group_path<'a>(text: &'a str, controller: Option<&str>) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match controller {
            None => number == "0" && controllers.is_empty(),
            Some(wanted) => controllers.split(',').any(|one| one == wanted),
        };
        found.then_some(path)
    })
}

/// PID 1 of a prepared container lives one level deeper.
fn without_leaf(path: &str) -> &str {
    path.strip_suffix(LEAF)
        .and_then(|path| path.strip_suffix('/'))
        .unwrap_or(path)
}

/// The directory of a group's path, by way of where its hierarchy is mounted.
fn directory(table: &[MountLine], controller: Option<&str>, path: &str) -> Option<PathBuf> {
    let fits = |line: &&MountLine| match controller {
        None => line.kind == "cgroup2",
        Some(wanted) => line.kind == "cgroup" && line.options.split(',').any(|one| one == wanted),
    };
    table.iter().filter(fits).find_map(|line| {
        let below = Path::new(path).strip_prefix(&line.root).ok()?;
        let dir = line.point.join(below);
        dir.is_dir().then_some(dir)
    })
}

/// A process that cannot be mistaken for another: its pid may be given anew, this cannot.
#[derive(Debug)]
pub(in crate::container) struct HeldProcess {
    pid: i32,
    fd: rustix::fd::OwnedFd,
}

impl HeldProcess {
    pub(in crate::container) fn open(pid: i32) -> Result<Self, CgroupError> {
        let gone = CgroupError::Gone { pid };
        // In a debug build the library asserts that no pid is negative.
        let Some(known) = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw) else {
            return Err(gone);
        };
        let fd = pidfd_open(known, PidfdFlags::empty()).map_err(|_| gone)?;
        Ok(Self { pid, fd })
    }

    /// Fails when the process has ended, and its pid could mean another by now.
    pub(super) fn still_lives(&self) -> Result<(), CgroupError> {
        if self.ended_within(Duration::ZERO) {
            return Err(CgroupError::Gone { pid: self.pid });
        }
        Ok(())
    }

    /// Waits until the process has ended, up to `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        self.ended_within(patience);
    }

    fn ended_within(&self, patience: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
        let patience = Timespec::try_from(patience).ok();
        // Without a time to wait this would wait for ever; one that is too long is none.
        let Some(patience) = patience else {
            return false;
        };
        !matches!(poll(&mut polled, Some(&patience)), Ok(0))
    }

    pub(in crate::container) fn kill(&self) {
        // One that has ended needs no killing.
        if let Err(error) = pidfd_send_signal(&self.fd, rustix::process::Signal::KILL)
            && error != Errno::SRCH
        {
            tracing::warn!(pid = self.pid, %error, "a process was not killed");
        }
    }
}

/// The same container as on a host whose v1 has no v2 beside it; `None` where there is no v1.
#[cfg(test)]
pub(in crate::container) fn freezer_only(
    found: &ContainerCgroup,
    pid: i32,
) -> Option<ContainerCgroup> {
    let table: Vec<MountLine> = mounts::table()
        .unwrap()
        .into_iter()
        .filter(|line| line.kind == "cgroup")
        .collect();
    match found.layout {
        Layout::V2 { .. } => None,
        Layout::V1 { .. } => {
            Some(ContainerCgroup::from_tables(pid, &proc_cgroup(pid).unwrap(), &table).unwrap())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, point: &Path, options: &str) -> MountLine {
        MountLine {
            root: "/".into(),
            point: point.into(),
            shared: false,
            kind: kind.into(),
            options: options.into(),
        }
    }

    fn host(dirs: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        root
    }

    #[test]
    fn a_v1_host_uses_the_freezer() {
        let root = host(&["m/docker/c", "p/docker/c", "f/docker/c", "u"]);
        let at = |name: &str| root.path().join(name);
        let table = [
            line("cgroup", &at("m"), "rw,memory"),
            line("cgroup", &at("p"), "rw,pids"),
            line("cgroup", &at("f"), "rw,freezer"),
            line("cgroup2", &at("u"), "rw"),
        ];
        let text = "4:memory:/docker/c\n3:pids:/docker/c\n2:cpu,freezer:/docker/c\n0::/\n";
        let found = ContainerCgroup::from_tables(1, text, &table).unwrap();
        let Layout::V1 {
            killer, cpuacct, ..
        } = &found.layout
        else {
            panic!("{found:?}")
        };
        assert_eq!(*killer, Killer::Freezer(at("f/docker/c")));
        assert_eq!(*cpuacct, None);
        assert_eq!(found.path, "/docker/c");
        let without = ContainerCgroup::from_tables(1, "4:memory:/docker/c\n0::/\n", &table);
        assert!(
            matches!(without, Err(CgroupError::NoController { .. })),
            "{without:?}"
        );
    }

    #[test]
    fn a_hybrid_host_uses_the_unified_hierarchy_where_it_can_kill() {
        let root = host(&["m/docker/c", "p/docker/c", "u/docker/c"]);
        let at = |name: &str| root.path().join(name);
        fs::write(at("u/docker/c/cgroup.kill"), "").unwrap();
        let table = [
            line("cgroup", &at("m"), "rw,memory"),
            line("cgroup", &at("p"), "rw,pids"),
            line("cgroup2", &at("u"), "rw"),
        ];
        let text = "4:memory:/docker/c\n3:pids:/docker/c\n0::/docker/c\n";
        let found = ContainerCgroup::from_tables(1, text, &table).unwrap();
        let Layout::V1 { killer, .. } = found.layout else {
            panic!("{found:?}")
        };
        assert_eq!(killer, Killer::Unified(at("u/docker/c")));
    }

    #[test]
    fn v2_is_found_under_both_drivers_and_after_preparation() {
        let scope = "system.slice/docker-c.scope";
        let root = host(&[&format!("{scope}/{LEAF}"), "docker/c"]);
        let table = [line("cgroup2", root.path(), "rw,nsdelegate")];
        for (text, dir) in [
            (format!("0::/{scope}\n"), scope),
            (format!("0::/{scope}/{LEAF}\n"), scope),
            ("0::/docker/c\n".to_owned(), "docker/c"),
        ] {
            let found = ContainerCgroup::from_tables(1, &text, &table).unwrap();
            assert_eq!(
                found.layout,
                Layout::V2 {
                    dir: root.path().join(dir)
                }
            );
        }
        // A process in the root is no container's; its group must never be divided.
        assert!(ContainerCgroup::from_tables(1, "0::/\n", &table).is_err());
    }

    #[test]
    fn preparing_v2_moves_processes_and_turns_controllers_on() {
        let root = host(&["docker/c"]);
        let dir = root.path().join("docker/c");
        fs::write(dir.join("cgroup.procs"), "11\n12\n").unwrap();
        fs::write(dir.join("cgroup.subtree_control"), "").unwrap();
        fs::create_dir(dir.join(LEAF)).unwrap();
        fs::write(dir.join(LEAF).join("cgroup.procs"), "").unwrap();
        let table = [line("cgroup2", root.path(), "rw")];
        let found = ContainerCgroup::from_tables(1, "0::/docker/c\n", &table).unwrap();
        found.prepare().unwrap();
        let on = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap();
        assert_eq!(on, "+memory +pids");
    }

    #[test]
    fn a_pid_that_is_gone_is_told_from_one_that_lives() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let held = HeldProcess::open(child.id() as i32).unwrap();
        held.still_lives().unwrap();
        held.kill();
        child.wait().unwrap();
        assert!(held.still_lives().is_err());
        assert!(HeldProcess::open(0).is_err());
        assert!(HeldProcess::open(-1).is_err());
    }
}
