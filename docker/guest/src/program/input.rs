//! What goes to a command: standard input and signals, each by a thread of its own.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    sync::Arc,
};

use nix::sys::signal::{SigSet, Signal};
use rustix::termios::tcgetwinsize;

use super::wire::Wire;

const PIECE: usize = 32 * 1024;

const PASSED_ON: [(Signal, &str); 6] = [
    (Signal::SIGHUP, "HUP"),
    (Signal::SIGINT, "INT"),
    (Signal::SIGQUIT, "QUIT"),
    (Signal::SIGTERM, "TERM"),
    (Signal::SIGUSR1, "USR1"),
    (Signal::SIGUSR2, "USR2"),
];

/// Blocks the signals that are passed on, in this thread and those that it starts.
pub(super) fn signals() -> Result<SigSet, nix::Error> {
    let mut signals: SigSet = PASSED_ON.into_iter().map(|(signal, _)| signal).collect();
    signals.add(Signal::SIGWINCH);
    signals.thread_block()?;
    Ok(signals)
}

pub(super) fn pass_signals(wire: Arc<Wire>, signals: SigSet, on_terminal: bool) {
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            let name = PASSED_ON.iter().find(|(one, _)| *one == signal);
            let sent = match name {
                Some((_, name)) => wire.send(b'K', name.as_bytes()),
                None if on_terminal => resize(&wire),
                None => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
    });
}

fn resize(wire: &Wire) -> io::Result<()> {
    let size = tcgetwinsize(io::stdin())?;
    let [a, b] = size.ws_row.to_be_bytes();
    let [c, d] = size.ws_col.to_be_bytes();
    wire.send(b'R', &[a, b, c, d])
}

/// Reads ahead of the command by what the wire allows: whether it wants to read cannot be known.
pub(super) fn pass_input(wire: Arc<Wire>) {
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        let Ok(mut input) = io::stdin().as_fd().try_clone_to_owned().map(File::from) else {
            return;
        };
        loop {
            let passed = match input.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(length) if length > 0 => wire.feed(piece.get(..length).unwrap_or_default()),
                Ok(_) | Err(_) => {
                    // The end, whichever way it came; a lost connection is seen by who listens.
                    drop(wire.send(b'E', &[]));
                    return;
                }
            };
            if passed.is_err() {
                return;
            }
        }
    });
}
