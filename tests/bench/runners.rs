//! Tools in other languages than Python, beside a bare start of the same runtime.

use std::{
    fs::File,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    calls::{PAUSE, called},
    engine,
    failure::Failure,
    figure::Figure,
    home::{self, Runner},
    ours,
    sample::Sample,
    stage::{self, Stage, Step},
};

/// Longer than a runtime takes that is started ahead of the call.
const NODE_PAUSE: Duration = Duration::from_millis(300);

/// Starts of a runtime with nothing around it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Starts {
    /// Below what directory the runtime and its file are found.
    root: String,
    /// Program and arguments.
    argv: Vec<String>,
    /// What it reads.
    input: String,
    /// How often.
    rounds: usize,
}

/// A call of each beside a start of each. The pack of all runners is up meanwhile.
pub async fn figures(stage: &mut Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let pack = [home::RUNNERS.to_owned()];
    stage.each(Step::Up, &pack).await?;
    let figures = compared(stage, quick).await;
    stage.each(Step::Down, &pack).await?;
    figures
}

async fn compared(stage: &Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let rounds = if quick { 3 } else { 60 };
    let pid = engine::first_process(stage.first_container()?)?;
    let mut figures = Vec::new();
    for (name, runner, pause) in [
        ("tool_call_javascript", Runner::JavaScript, NODE_PAUSE),
        ("tool_call_bash", Runner::Bash, PAUSE),
    ] {
        let component = runner.component();
        called(stage, &component, 3, pause).await?;
        let call = called(stage, &component, rounds, pause).await?.client;
        let (argv, input) = runner.bare();
        let bare = ask(&Starts {
            root: format!("/proc/{pid}/root"),
            argv,
            input,
            rounds,
        })?;
        let figure = Figure::new(name, "ms", call.n, call.p50 / 1e6).p99(call.p99 / 1e6);
        figures.push(figure.beside("bare start", bare.p50 / 1e6));
    }
    Ok(figures)
}

/// In a process of its own, for it does not find its way back.
fn ask(starts: &Starts) -> Result<Sample, Failure> {
    let ran = Command::new(ours())
        .args(["--starts", &serde_json::to_string(starts)?])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Failure::Program {
            program: "the bench".to_owned(),
            source,
        })?;
    Ok(serde_json::from_slice(&ran.stdout)?)
}

/// Starts the runtime as often as told, one after the other, and times each from its start to its end.
pub fn run(starts: &Starts) -> Result<Sample, Failure> {
    let input = tempfile::tempdir().map_err(Failure::file("a temporary directory"))?;
    let path = input.path().join("input");
    std::fs::write(&path, &starts.input).map_err(Failure::file(&path))?;
    let input = File::open(&path).map_err(Failure::file(&path))?;
    let again = || -> Result<File, Failure> {
        // One position is shared by all that are given the same descriptor.
        std::io::Seek::rewind(&mut &input).map_err(Failure::file(&path))?;
        input.try_clone().map_err(Failure::file(&path))
    };
    let kernel = |source| Failure::Kernel {
        action: "enter the container's files",
        source,
    };
    rustix::process::chroot(&starts.root).map_err(kernel)?;
    rustix::process::chdir("/").map_err(kernel)?;
    let (program, arguments) = starts
        .argv
        .split_first()
        .ok_or_else(|| Failure::Unexpected("there is nothing to start".to_owned()))?;
    let broken = |source| Failure::Program {
        program: program.clone(),
        source,
    };
    let mut times = Vec::with_capacity(starts.rounds);
    for round in 0..=starts.rounds {
        let input = again()?;
        std::thread::sleep(PAUSE);
        let started = Instant::now();
        let ran = Command::new(program)
            .args(arguments)
            .stdin(input)
            .output()
            .map_err(broken)?;
        // The first reads its files from the disk.
        if round > 0 {
            times.push(started.elapsed());
        }
        if ran.stdout != stage::answer(1).as_bytes() {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            return Err(Failure::Unexpected(format!("{program} answered `{said}`")));
        }
    }
    Sample::of(times).ok_or_else(|| Failure::Unexpected("nothing was started".to_owned()))
}
