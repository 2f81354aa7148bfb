//! The group of one call: limits, measured peak, and an end that nothing escapes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    CgroupError, ContainerCgroup,
    hierarchy::{CALL_PREFIX, HeldProcess, Killer, Layout, is},
    keyed, number, read, write,
};

/// How long freezing may take; a process in an uninterruptible wait delays it.
const FREEZING: Duration = Duration::from_millis(100);

/// A call's own groups.
#[derive(Debug)]
pub struct CallCgroup {
    pub(super) container: ContainerCgroup,
    name: String,
    pub(super) removed: bool,
    /// The process that was moved in first; most calls have no other.
    pub(super) first: OnceLock<HeldProcess>,
}

/// What is known when a call is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// The most memory it used at once; `None` where the kernel does not measure it.
    pub memory_peak: Option<u64>,
    /// Whether the kernel killed in it for lack of memory.
    pub out_of_memory: bool,
}

impl CallCgroup {
    /// Makes the groups and sets their limits. `name` is the call's identifier.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left then.
    pub fn create(
        container: &ContainerCgroup,
        name: &str,
        memory_bytes: u64,
        pids: u64,
    ) -> Result<Self, CgroupError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(CgroupError::Name {
                name: name.to_owned(),
            });
        }
        // Removed again by its drop when a later step fails; a group that is there already
        // is another call's, and its drop would end that call.
        let mut call = Self::existing(container, name);
        call.removed = true;
        for dir in call.directories() {
            fs::create_dir(&dir).map_err(CgroupError::file("make", &dir))?;
            call.removed = false;
        }
        call.limit(memory_bytes, pids)?;
        Ok(call)
    }

    pub(super) fn existing(container: &ContainerCgroup, name: &str) -> Self {
        Self {
            container: container.clone(),
            name: name.to_owned(),
            removed: false,
            first: OnceLock::new(),
        }
    }

    /// The call's identifier.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the container's.
    #[must_use]
    pub fn lies_in(&self, container: &ContainerCgroup) -> bool {
        self.container == *container
    }

    /// Sets the limits; lowering them while it runs is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, memory_bytes: u64, pids: u64) -> Result<(), CgroupError> {
        let (bytes, pids) = (memory_bytes.to_string(), pids.to_string());
        match &self.container.layout {
            Layout::V2 { dir } => {
                let dir = self.below(dir);
                write(&dir.join("memory.max"), &bytes)?;
                write_if_there(&dir.join("memory.swap.max"), "0")?;
                // Half a call is of no use to anybody.
                write_if_there(&dir.join("memory.oom.group"), "1")?;
                write(&dir.join("pids.max"), &pids)
            }
            Layout::V1 {
                memory,
                pids: processes,
                ..
            } => {
                let memory = self.below(memory);
                write(&memory.join("memory.limit_in_bytes"), &bytes)?;
                write_if_there(&memory.join("memory.memsw.limit_in_bytes"), &bytes)?;
                write(&self.below(processes).join("pids.max"), &pids)
            }
        }
    }

    pub(super) fn below(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{CALL_PREFIX}{}", self.name))
    }

    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.container
            .directories()
            .iter()
            .map(|dir| self.below(dir))
            .collect()
    }

    /// Moves a process of the container into the groups; what it starts stays with it.
    ///
    /// The pid comes from the kernel, but its process may have ended since: it is held,
    /// checked to be the container's, moved, and looked at again.
    ///
    /// # Errors
    /// When the process is gone or is not the container's.
    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        let held = HeldProcess::open(pid)?;
        if !self.container.contains(pid)? {
            return Err(CgroupError::Foreign { pid });
        }
        held.still_lives()?;
        let text = pid.to_string();
        for dir in self.directories() {
            match write(&dir.join("cgroup.procs"), &text) {
                Err(CgroupError::File { source, .. }) if is(&source, Errno::SRCH) => {
                    return Err(CgroupError::Gone { pid });
                }
                other => other?,
            }
        }
        held.still_lives()?;
        self.first.get_or_init(|| held);
        Ok(())
    }

    /// The most memory that was used at once; `None` where the kernel does not measure it.
    #[must_use]
    pub fn memory_peak(&self) -> Option<u64> {
        let file = match &self.container.layout {
            Layout::V2 { dir } => self.below(dir).join("memory.peak"),
            Layout::V1 { memory, .. } => self.below(memory).join("memory.max_usage_in_bytes"),
        };
        read(&file).ok().and_then(|text| number(&text))
    }

    /// Whether the kernel killed in it for lack of memory.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        let file = match &self.container.layout {
            Layout::V2 { dir } => self.below(dir).join("memory.events"),
            Layout::V1 { memory, .. } => self.below(memory).join("memory.oom_control"),
        };
        read(&file)
            .ok()
            .and_then(|text| keyed(&text, "oom_kill"))
            .is_some_and(|kills| kills > 0)
    }

    /// What is known of it by now.
    #[must_use]
    pub fn measured(&self) -> Ended {
        Ended {
            memory_peak: self.memory_peak(),
            out_of_memory: self.oom_killed(),
        }
    }

    /// How often a process could not be made because there were too many.
    #[must_use]
    pub fn forks_refused(&self) -> u64 {
        let dir = match &self.container.layout {
            Layout::V2 { dir } => self.below(dir),
            Layout::V1 { pids, .. } => self.below(pids),
        };
        read(&dir.join("pids.events"))
            .ok()
            .and_then(|text| keyed(&text, "max"))
            .unwrap_or(0)
    }

    /// Whether no process lives in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories()
            .iter()
            .all(|dir| self.processes(dir).is_empty())
    }

    fn processes(&self, dir: &Path) -> Vec<i32> {
        let text = read(&dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Whether `kill` is one stroke of the kernel's; elsewhere it may sleep.
    #[must_use]
    pub fn kills_at_once(&self) -> bool {
        !matches!(
            self.container.layout,
            Layout::V1 {
                killer: Killer::Freezer(_),
                ..
            }
        )
    }

    /// Sends SIGKILL to all that live in it, so that none escapes by forking. They need a
    /// moment to end; see [`CallCgroup::end`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<(), CgroupError> {
        let killed = match &self.container.layout {
            Layout::V2 { dir }
            | Layout::V1 {
                killer: Killer::Unified(dir),
                ..
            } => write(&self.below(dir).join("cgroup.kill"), "1"),
            Layout::V1 {
                killer: Killer::Freezer(dir),
                ..
            } => self.kill_frozen(&self.below(dir)),
        };
        match killed {
            // Removed already: nothing can live in it.
            Err(CgroupError::File { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Stops all processes, kills each, and lets them go on, which is when they end.
    fn kill_frozen(&self, dir: &Path) -> Result<(), CgroupError> {
        let state = dir.join("freezer.state");
        write(&state, "FROZEN")?;
        let end = Instant::now() + FREEZING;
        while read(&state)?.trim() != "FROZEN" && Instant::now() < end {
            std::thread::sleep(Duration::from_micros(200));
            // Freezing is only tried when asked for; forks in the meantime need asking again.
            write(&state, "FROZEN")?;
        }
        for pid in self.processes(dir) {
            // Frozen, the process cannot end, so its pid cannot come to mean another.
            if let Ok(held) = HeldProcess::open(pid) {
                held.kill();
            }
        }
        write(&state, "THAWED")
    }
}

impl Drop for CallCgroup {
    /// A call that nobody ended is ended here as far as that works without waiting; what is
    /// left is found by the sweep of the next start.
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let ended = if self.is_empty() { Ok(()) } else { self.kill() };
        if let Err(error) = ended.and_then(|()| self.remove()) {
            tracing::debug!(%error, "a call's control group is left");
        }
    }
}

fn write_if_there(path: &Path, text: &str) -> Result<(), CgroupError> {
    match write(path, text) {
        // Swap accounting can be off, and old kernels lack the other.
        Err(CgroupError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}
