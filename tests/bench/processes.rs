//! What the kernel says of processes, and on which processors they run.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::failure::Failure;

/// The processors this process may run on.
pub fn processors() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(None).map_err(kernel("read the affinity"))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect())
}

/// Lets the calling thread, and those it starts, run on these processors only.
pub fn pin_self(processors: &[usize]) -> Result<(), Failure> {
    sched_setaffinity(None, &set_of(processors)).map_err(kernel("set the affinity"))
}

/// Lets all threads of a process run on these processors only.
pub fn pin(pid: u32, processors: &[usize]) -> Result<(), Failure> {
    let tasks = format!("/proc/{pid}/task");
    for task in fs::read_dir(&tasks).map_err(Failure::file(&tasks))? {
        let task = task.map_err(Failure::file(&tasks))?;
        let id = task.file_name().to_str().and_then(|name| name.parse().ok());
        let thread = id.and_then(Pid::from_raw);
        sched_setaffinity(thread, &set_of(processors)).map_err(kernel("set the affinity"))?;
    }
    Ok(())
}

fn kernel(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> Failure {
    move |source| Failure::Kernel { action, source }
}

fn set_of(processors: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for processor in processors {
        set.set(*processor);
    }
    set
}

/// Memory a process has in RAM, in megabytes of a million bytes.
pub fn resident(pid: u32) -> Result<f64, Failure> {
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most memory a process had in RAM since [`forget_peak`].
pub fn peak(pid: u32) -> Result<f64, Failure> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Lets the kernel note the peak anew.
pub fn forget_peak(pid: u32) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").map_err(Failure::file(path))
}

/// Memory of processes and all their descendants, what is shared counted once.
pub fn proportional(parents: &HashSet<u32>) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for pid in descendants(parents)? {
        sum += kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?;
    }
    Ok(sum)
}

fn kilobytes(path: &str, field: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::file(path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u32>().ok());
    let missing = || Failure::Unexpected(format!("`{path}` has no `{field}`"));
    Ok(f64::from(number.ok_or_else(missing)?) * 1024.0 / 1e6)
}

/// The process that started another.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn descendants(parents: &HashSet<u32>) -> Result<HashSet<u32>, Failure> {
    let listed = fs::read_dir("/proc").map_err(Failure::file("/proc"))?;
    let tree: HashMap<u32, u32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = parents.clone();
    loop {
        let before = found.len();
        let children = tree.iter().filter(|(_, parent)| found.contains(parent));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return Ok(found);
        }
    }
}
