//! Large files below `/files` of a container, beside the same command on the host.

use std::{fs, os::unix::process::CommandExt as _, path::Path, process::Command};

use crate::{
    engine,
    failure::Failure,
    figure::Figure,
    reads::fill,
    sample::{median, real},
    stage::{self, SECOND, Stage, Step},
};

/// What runs on both sides: time is taken by the shell, so that starting it does not count.
const READ: &str = "cat \"$1\" >/dev/null";
/// The other way, in pieces as large as those of `cat`.
const WRITE: &str =
    "dd if=/dev/zero of=\"$1\" bs=128K count=$(($2 / 131072)) conv=notrunc status=none";

/// One component of a pack that is up.
struct Place {
    container: String,
    uid: u32,
}

/// Copied by the broker both ways, and read by the kernel itself; the first pack is up.
pub async fn figures(stage: &mut Stage, quick: bool) -> Result<Vec<Figure>, Failure> {
    let bytes = if quick { 32 } else { 1024 } * 1024 * 1024;
    let rounds = if quick { 2 } else { 7 };
    let (large, written) = (stage.memory().join("large"), stage.memory().join("written"));
    fill(&large, bytes)?;
    let copying = Place {
        container: stage.first_container()?.to_owned(),
        uid: stage.component_uid(0).await?,
    };
    fs::write(&written, []).map_err(Failure::file(&written))?;
    std::os::unix::fs::chown(&written, Some(copying.uid), Some(copying.uid))
        .map_err(Failure::file(&written))?;
    let read = compared("files_read", &copying, READ, &large, (bytes, rounds))?;
    let write = compared("files_write", &copying, WRITE, &written, (bytes, rounds))?;
    fs::remove_file(&written).map_err(Failure::file(&written))?;

    let second = [stage::pack(SECOND)];
    stage.each(Step::Up, &second).await?;
    let passing = Place {
        container: stage.first_container()?.to_owned(),
        uid: stage.component_uid(SECOND).await?,
    };
    let passed = compared("files_passthrough", &passing, READ, &large, (bytes, rounds))?;
    stage.each(Step::Down, &second).await?;
    fs::remove_file(&large).map_err(Failure::file(&large))?;
    Ok(vec![read, write, passed])
}

/// Round by round inside and outside, each going first in turn.
fn compared(
    name: &str,
    place: &Place,
    command: &str,
    file: &Path,
    (bytes, rounds): (usize, usize),
) -> Result<Figure, Failure> {
    let within = Path::new("/files").join(file.strip_prefix("/").unwrap_or(file));
    let inside = || place.inside(command, &within, bytes);
    let outside = || place.outside(command, file, bytes);
    // What is cold at first is not what is measured.
    inside()?;
    outside()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            ours.push(inside()?);
            theirs.push(outside()?);
        } else {
            theirs.push(outside()?);
            ours.push(inside()?);
        }
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs));
    let outside = format!("{} outside", command.split(' ').next().unwrap_or_default());
    Ok(
        Figure::new(name, "GB/s", rounds, median(ours)).beside_in_rounds(
            &outside,
            median(theirs),
            ratio,
        ),
    )
}

impl Place {
    /// In the container, as the component.
    fn inside(&self, command: &str, file: &Path, bytes: usize) -> Result<f64, Failure> {
        let (uid, file, count) = (self.uid.to_string(), file.display(), bytes.to_string());
        let (file, timed) = (file.to_string(), timed(command));
        let printed = engine::docker(&[
            "exec",
            "--user",
            &uid,
            &self.container,
            "/bin/sh",
            "-c",
            &timed,
            "sh",
            &file,
            &count,
        ])?;
        rate(bytes, &printed)
    }

    /// On the host, as the same uid.
    fn outside(&self, command: &str, file: &Path, bytes: usize) -> Result<f64, Failure> {
        let ran = Command::new("/bin/sh")
            .args(["-c", &timed(command), "sh"])
            .args([file.as_os_str(), bytes.to_string().as_ref()])
            .uid(self.uid)
            .gid(self.uid)
            .output();
        let ran = ran.map_err(|source| Failure::Program {
            program: "/bin/sh".to_owned(),
            source,
        })?;
        if !ran.status.success() {
            return Err(Failure::Ended {
                program: format!("/bin/sh -c {command}"),
                said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
            });
        }
        rate(bytes, &String::from_utf8_lossy(&ran.stdout))
    }
}

/// Prints how many nanoseconds a command takes.
fn timed(command: &str) -> String {
    format!("set -e; begun=$(date +%s%N); {command}; echo $(($(date +%s%N) - begun))")
}

/// Gigabytes a second.
fn rate(bytes: usize, printed: &str) -> Result<f64, Failure> {
    let elapsed: f64 = printed
        .trim()
        .parse()
        .map_err(|_| Failure::Unexpected(format!("`{printed}` is no time")))?;
    Ok(real(bytes) / elapsed)
}
