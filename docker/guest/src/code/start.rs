//! The command of a run, from its start to its end.

use std::{
    io::{Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{CodeError, wire::Wire};
use crate::domain;

/// How long what a command left behind may go on writing; the pipe's last bytes are read in less.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Bytes of output in one frame.
const PIECE: usize = 64 * 1024;

/// A command that was started.
pub(super) struct Running {
    stdin: Option<ChildStdin>,
}

impl Running {
    /// Starts what the broker says; nothing where that cannot be, which is said.
    pub(super) fn begin(wire: &Wire, what: &Value) -> Result<Option<Self>, CodeError> {
        let mut command = command(what);
        match domain::start(&mut command) {
            Ok(child) => Ok(Some(Self::attend(wire, child))),
            Err(error) => {
                let program = command.get_program().to_string_lossy().into_owned();
                wire.failed(&format_args!("cannot start `{program}`: {error}"))?;
                Ok(None)
            }
        }
    }

    /// Passes on what it says, from now on.
    pub(super) fn attend(wire: &Wire, mut child: Child) -> Self {
        let (done, ended) = channel();
        if let Some(stdout) = child.stdout.take() {
            pass(stdout, b'o', wire.clone(), done.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            pass(stderr, b'e', wire.clone(), done);
        }
        let stdin = child.stdin.take();
        let wire = wire.clone();
        thread::spawn(move || await_end(child, &ended, &wire));
        Self { stdin }
    }

    /// Gives it input; one that takes none any more is not given more.
    pub(super) fn feed(&mut self, input: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(input).is_err()
        {
            self.stdin = None;
        }
    }

    pub(super) fn end_input(&mut self) {
        self.stdin = None;
    }
}

/// As the broker says it.
pub(super) fn command(what: &Value) -> Command {
    let words = what.get("argv").and_then(Value::as_array);
    let mut words = words.into_iter().flatten().filter_map(Value::as_str);
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // All that this process has in its environment is the way to the proxy.
    if what.get("network").and_then(Value::as_bool) != Some(true) {
        command.env_clear();
    }
    if let Some(env) = what.get("env").and_then(Value::as_object) {
        command.envs(
            env.iter()
                .filter_map(|(key, value)| Some((key, value.as_str()?))),
        );
    }
    if let Some(directory) = what.get("directory").and_then(Value::as_str) {
        command.current_dir(directory);
    }
    command
}

fn pass(mut from: impl Read + Send + 'static, kind: u8, wire: Wire, done: Sender<()>) {
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if wire
                .send(kind, buffer.get(..count).unwrap_or_default())
                .is_err()
            {
                break;
            }
        }
        if done.send(()).is_err() {
            // Whoever waited has had enough.
        }
    });
}

/// Waits for the command, then for the last of its words, and says how it ended.
fn await_end(mut child: Child, ended: &Receiver<()>, wire: &Wire) {
    let status = child.wait();
    let deadline = Instant::now() + LAST_WORDS;
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        // Its children may hold a pipe open for as long as they like.
        if ended.recv_timeout(left).is_err() {
            break;
        }
    }
    let end = match status {
        Ok(status) => json!({"code": status.code(), "signal": status.signal()}),
        Err(error) => json!({"error": error.to_string()}),
    };
    if wire.send(b'x', end.to_string().as_bytes()).is_err() {
        // The broker is gone, and the run with it.
    }
}
