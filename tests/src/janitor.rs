//! Takes away what a broker leaves, even where the test itself was killed.
//!
//! Nothing runs destructors at the end of a test binary, so a process of its own waits for
//! the end of a pipe that only this process holds.

use std::{
    fs::File,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

const SCRIPT: &str = include_str!("janitor.sh");

/// Waits for the end of the test.
#[derive(Debug)]
pub(crate) struct Janitor {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Janitor {
    pub(crate) fn hire(base: &Path, instance: &str) -> Self {
        // A file, because a pipe to a test that has ended would end the janitor as well.
        let said = File::create(base.with_extension("janitor.log")).expect("a log for the janitor");
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT, "janitor"])
            .arg(base)
            .arg(instance)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("a shell for the janitor");
        let pipe = process.stdin.take();
        Self { process, pipe }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        if let Err(error) = self.process.wait() {
            eprintln!("the janitor was lost: {error}");
        }
    }
}
