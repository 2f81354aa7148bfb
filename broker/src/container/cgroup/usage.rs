//! What a container uses, read from its groups: a hundred times faster than asking the engine.

use std::path::Path;

use super::{CgroupError, ContainerCgroup, hierarchy::Layout, keyed, number, read};

/// Figures of one container. What the kernel does not count is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in use, without file pages that can be dropped at once.
    pub memory_bytes: u64,
    /// The most that was ever in use, such pages included.
    pub memory_peak: Option<u64>,
    /// The bound.
    pub memory_limit: Option<u64>,
    /// Processor time used so far.
    pub cpu_usec: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Their bound.
    pub pids_limit: Option<u64>,
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: u64,
}

impl ContainerCgroup {
    /// Reads the figures.
    ///
    /// # Errors
    /// When the container is gone.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        match &self.layout {
            Layout::V2 { dir } => v2(dir),
            Layout::V1 {
                memory,
                pids,
                cpuacct,
                ..
            } => v1(memory, pids, cpuacct.as_deref()),
        }
    }
}

fn optional(path: &Path) -> Option<String> {
    read(path).ok()
}

fn v2(dir: &Path) -> Result<Usage, CgroupError> {
    let used = number(&read(&dir.join("memory.current"))?).unwrap_or_default();
    let inactive =
        optional(&dir.join("memory.stat")).and_then(|text| keyed(&text, "inactive_file"));
    Ok(Usage {
        memory_bytes: used.saturating_sub(inactive.unwrap_or_default()),
        memory_peak: optional(&dir.join("memory.peak")).and_then(|text| number(&text)),
        memory_limit: optional(&dir.join("memory.max")).and_then(|text| number(&text)),
        cpu_usec: optional(&dir.join("cpu.stat")).and_then(|text| keyed(&text, "usage_usec")),
        pids: number(&read(&dir.join("pids.current"))?).unwrap_or_default(),
        pids_limit: optional(&dir.join("pids.max")).and_then(|text| number(&text)),
        oom_kills: optional(&dir.join("memory.events"))
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or_default(),
    })
}

fn v1(memory: &Path, pids: &Path, cpuacct: Option<&Path>) -> Result<Usage, CgroupError> {
    let used = number(&read(&memory.join("memory.usage_in_bytes"))?).unwrap_or_default();
    let stat = optional(&memory.join("memory.stat"));
    let inactive = stat.and_then(|text| keyed(&text, "total_inactive_file"));
    let nanoseconds = cpuacct.and_then(|dir| optional(&dir.join("cpuacct.usage")));
    Ok(Usage {
        memory_bytes: used.saturating_sub(inactive.unwrap_or_default()),
        memory_peak: optional(&memory.join("memory.max_usage_in_bytes"))
            .and_then(|text| number(&text)),
        memory_limit: optional(&memory.join("memory.limit_in_bytes"))
            .and_then(|text| number(&text)),
        cpu_usec: nanoseconds
            .and_then(|text| number(&text))
            .map(|count| count / 1000),
        pids: number(&read(&pids.join("pids.current"))?).unwrap_or_default(),
        pids_limit: optional(&pids.join("pids.max")).and_then(|text| number(&text)),
        oom_kills: optional(&memory.join("memory.oom_control"))
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or_default(),
    })
}
