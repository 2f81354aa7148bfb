//! The plain ways to run something in a container, which are what rumi stands beside.

use std::{
    collections::HashSet,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{failure::Failure, figure::Figure, processes, sample::Sample};

/// The image that packs are made from.
const BASE: &str = "rumi-base:latest";
/// As much as the measured tool does: take arguments, answer JSON.
const SCRIPT: &str =
    "import json, sys; print(json.dumps({'ok': True, 'data': json.loads(sys.argv[1])}))";
const ARGUMENTS: &str = r#"{"n": 1}"#;

/// Runs the engine's own client and returns what it printed.
pub fn docker(arguments: &[&str]) -> Result<String, Failure> {
    let ran = Command::new("docker").args(arguments).output();
    let ran = ran.map_err(|source| Failure::Program {
        program: "docker".to_owned(),
        source,
    })?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    Err(Failure::Ended {
        program: format!("docker {}", arguments.join(" ")),
        said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
    })
}

/// The first process of a container, as the host numbers it.
pub fn first_process(container: &str) -> Result<u32, Failure> {
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", container])?;
    pid.parse()
        .map_err(|_| Failure::Unexpected(format!("`{pid}` is no process")))
}

/// Size of the base image as `docker images` counts it.
pub fn base_image() -> Result<Figure, Failure> {
    let size = docker(&["image", "inspect", "--format", "{{.Size}}", BASE])?;
    let bytes: f64 = size
        .parse()
        .map_err(|_| Failure::Unexpected(format!("`{size}` is no size of an image")))?;
    Ok(Figure::new("base_image", "MB", 1, bytes / 1e6))
}

/// A container that only waits, for `docker exec`.
#[derive(Debug)]
struct Waiting(String);

impl Waiting {
    fn start() -> Result<Self, Failure> {
        let wait = "import time; time.sleep(3600)";
        let run = [
            "run",
            "--detach",
            "--rm",
            "--network",
            "none",
            BASE,
            "python3",
            "-c",
            wait,
        ];
        docker(&run).map(Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Err(error) = docker(&["rm", "--force", &self.0]) {
            eprintln!("rumi-bench: a container is left: {}", error.in_full());
        }
    }
}

/// How long the engine alone takes to start so many bare containers, so many at once.
pub fn bare_starts(count: usize, at_once: usize) -> Result<Duration, Failure> {
    let left = AtomicUsize::new(count);
    let take = |left: usize| left.checked_sub(1);
    let started = Instant::now();
    let waiting: Vec<Result<Vec<Waiting>, Failure>> = std::thread::scope(|scope| {
        let starters: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut waiting = Vec::new();
                    while left.fetch_update(Relaxed, Relaxed, take).is_ok() {
                        waiting.push(Waiting::start()?);
                    }
                    Ok(waiting)
                })
            })
            .collect();
        let broken = |_| Err(Failure::Unexpected("a starter panicked".to_owned()));
        let joined = starters.into_iter().map(|starter| starter.join());
        joined.map(|ended| ended.unwrap_or_else(broken)).collect()
    });
    let elapsed = started.elapsed();
    for starter in waiting {
        // Dropped here, which removes them.
        drop(starter?);
    }
    Ok(elapsed)
}

/// The same small answer by `docker exec` and by `docker run`.
pub fn peers(rounds: usize) -> Result<(Sample, Sample), Failure> {
    let waiting = Waiting::start()?;
    let exec = ["exec", &waiting.0, "python3", "-c", SCRIPT, ARGUMENTS];
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        BASE,
        "python3",
        "-c",
        SCRIPT,
        ARGUMENTS,
    ];
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        times.0.push(timed(&exec)?);
        times.1.push(timed(&run)?);
    }
    let none = || Failure::Unexpected("no round of the engine's peers was run".to_owned());
    let of = |times| Sample::of(times).ok_or_else(none);
    Ok((of(times.0)?, of(times.1)?))
}

fn timed(arguments: &[&str]) -> Result<Duration, Failure> {
    let started = Instant::now();
    docker(arguments)?;
    Ok(started.elapsed())
}

/// The processes that look after containers, which are part of what a container costs.
pub fn shims(containers: &[String]) -> Result<HashSet<u32>, Failure> {
    let mut arguments = vec!["inspect", "--format", "{{.State.Pid}}"];
    arguments.extend(containers.iter().map(String::as_str));
    let pids = docker(&arguments)?;
    let shims = pids
        .lines()
        .filter_map(|pid| processes::parent(pid.parse().ok()?));
    Ok(shims.collect())
}
