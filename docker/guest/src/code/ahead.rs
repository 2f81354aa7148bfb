//! A command that is started before the file exists that it runs.
//!
//! In the place of its file lies a pipe, which it opens and then waits for. When the file has come, its content goes
//! through the pipe: for the command it is as if it had been started then.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    process::Child,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::Value;

use super::start::command;
use crate::domain;

/// How long it may take until it asks for its file.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command that waits, or is on its way there.
pub(super) struct Ahead {
    what: Value,
    file: PathBuf,
    state: State,
}

enum State {
    /// It was started and has not been seen to open the pipe.
    Coming {
        child: Child,
        opened: Receiver<io::Result<File>>,
    },
    /// It reads from the pipe, which has no name any more.
    Waiting { child: Child, pipe: File },
    /// It could not be started, or ended.
    Gone,
}

impl Ahead {
    /// Starts it. One that cannot be started ahead is started when its file is there.
    pub(super) fn begin(what: Value) -> Self {
        let words = what.get("argv").and_then(Value::as_array);
        let name = words.and_then(|words| words.last()?.as_str());
        let directory = what.get("directory").and_then(Value::as_str);
        let file = PathBuf::from(directory.unwrap_or_default()).join(name.unwrap_or_default());
        let state = start(&what, &file).unwrap_or(State::Gone);
        Self { what, file, state }
    }

    /// What it is, to be started otherwise.
    pub(super) fn what(&self) -> &Value {
        &self.what
    }

    /// Waits until it has the pipe open, and takes the pipe's name away: from here on files may be made.
    pub(super) fn settle(&mut self) {
        let (child, opened) = match std::mem::replace(&mut self.state, State::Gone) {
            State::Coming { child, opened } => (child, opened),
            // It was seen already.
            other => {
                self.state = other;
                return;
            }
        };
        match opened.recv_timeout(PATIENCE) {
            Ok(Ok(pipe)) => self.state = State::Waiting { child, pipe },
            _ => end(child),
        }
        // Whoever still waits for a reader is let go.
        drop(open(
            &self.file,
            OFlags::RDONLY | OFlags::NONBLOCK,
            Mode::empty(),
        ));
        if fs::remove_file(&self.file).is_err() {
            // It was never there.
        }
    }

    /// Gives it the file. Nothing where it does not wait any more.
    pub(super) fn go_on(mut self) -> Option<Child> {
        self.settle();
        let State::Waiting { child, mut pipe } = std::mem::replace(&mut self.state, State::Gone)
        else {
            return None;
        };
        let content = match fs::read(&self.file) {
            Ok(content) => content,
            Err(_) => {
                end(child);
                return None;
            }
        };
        // A pipe holds 64 KiB, and who reads it may have ended.
        thread::spawn(move || {
            if pipe.write_all(&content).is_err() {
                // It says so itself, by how it ends.
            }
        });
        Some(child)
    }

    /// Ends it, because something else is wanted.
    pub(super) fn give_up(mut self) {
        self.settle();
        if let State::Waiting { child, .. } = std::mem::replace(&mut self.state, State::Gone) {
            end(child);
        }
    }
}

fn start(what: &Value, file: &PathBuf) -> io::Result<State> {
    mknodat(CWD, file, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    let child = match domain::start(&mut command(what)) {
        Ok(child) => child,
        Err(error) => {
            fs::remove_file(file)?;
            return Err(error);
        }
    };
    let (tell, opened) = channel();
    let path = file.clone();
    // The kernel lets it through when the command opens the other end.
    thread::spawn(move || {
        if tell.send(File::options().write(true).open(path)).is_err() {
            // Nobody waits any more.
        }
    });
    Ok(State::Coming { child, opened })
}

fn end(mut child: Child) {
    if child.kill().and_then(|()| child.wait()).is_err() {
        // It has ended, or ends with this process's group.
    }
}
