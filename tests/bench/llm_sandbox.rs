//! The PyPI package `llm-sandbox` with its Docker backend, as a peer of ad-hoc code.

use std::{path::Path, process::Command, time::Duration};

use crate::{engine, failure::Failure, sample::Sample};

/// The version that is measured, so that two runs measure the same.
const PACKAGE: &str = "llm-sandbox[docker]==0.3.46";
/// The base image with one name more: the package starts `python`.
const IMAGE: &str = "rumi-bench-llm-sandbox:latest";
const DOCKERFILE: &str = r#"FROM rumi-base:latest
RUN ["/usr/bin/python3", "-c", "import os; os.symlink('python3', '/usr/bin/python')"]
"#;
const SCRIPT: &str = include_str!("peers/llm_sandbox.py");

/// Runs the same code in its warm container. It is installed below `directory`.
pub fn warm(directory: &Path, runs: usize) -> Result<Sample, Failure> {
    let place = directory.join("llm-sandbox");
    let python = place.join("bin/python");
    output(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    let install = ["-m", "pip", "install", "--quiet", PACKAGE];
    output(Command::new(&python).args(install))?;
    let context = directory.join("llm-sandbox-image");
    std::fs::create_dir_all(&context).map_err(Failure::file(&context))?;
    let dockerfile = context.join("Dockerfile");
    std::fs::write(&dockerfile, DOCKERFILE).map_err(Failure::file(&dockerfile))?;
    let context = context.to_string_lossy();
    engine::docker(&["build", "--quiet", "--tag", IMAGE, &context])?;
    let measured = measure(&python, runs);
    engine::docker(&["image", "rm", "--force", IMAGE])?;
    measured
}

fn measure(python: &Path, runs: usize) -> Result<Sample, Failure> {
    let runs = runs.to_string();
    let said = output(Command::new(python).args(["-c", SCRIPT, IMAGE, &runs]))?;
    let times = said
        .lines()
        .filter_map(|line| line.parse().ok().map(Duration::from_nanos));
    Sample::of(times.collect())
        .ok_or_else(|| Failure::Unexpected(format!("llm-sandbox said `{said}`")))
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.output().map_err(|source| Failure::Program {
        program: program.clone(),
        source,
    })?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(Failure::Ended {
        program,
        said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
    })
}
