//! A second process that lets go of the packs' files when the broker no longer answers. Whoever
//! waits for a hung file system cannot be ended, not even by the engine; only the kernel can be told
//! to give up the connection, and a broker that hangs cannot tell it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Silence after which the broker is taken to hang.
const SILENCE: Duration = Duration::from_secs(3);
/// Bytes of a line that is not whole yet.
const LONGEST: usize = 256;

/// Runs until the broker is gone: its lines come on standard input, `+N` and `-N` for connections
/// and an empty one for a sign of life. The argument is the directory where the kernel lists them.
#[must_use]
pub fn run(connections: &Path) -> std::process::ExitCode {
    let mut watched = Watched {
        connections: connections.to_owned(),
        numbers: BTreeSet::new(),
    };
    // Ending is the same as hanging, and the kernel has let go by itself then; this makes sure.
    let ended = watched.follow();
    watched.let_go();
    match ended {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rumi-broker: the watchdog ends: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

struct Watched {
    connections: PathBuf,
    numbers: BTreeSet<u32>,
}

impl Watched {
    fn follow(&mut self) -> io::Result<()> {
        let input = io::stdin();
        let mut line = Vec::new();
        let mut heard = Instant::now();
        loop {
            let left = SILENCE.saturating_sub(heard.elapsed());
            if left.is_zero() {
                self.let_go();
                heard = Instant::now();
                continue;
            }
            let mut ready = [PollFd::new(&input, PollFlags::IN)];
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut buffer = [0; 4096];
            let read = rustix::io::read(input.as_fd(), &mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            heard = Instant::now();
            for byte in buffer.iter().take(read) {
                match byte {
                    b'\n' => self.take(&std::mem::take(&mut line)),
                    byte if line.len() < LONGEST => line.push(*byte),
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let number = |text: &str| text.parse::<u32>().ok();
        if let Some(number) = text.strip_prefix('+').and_then(number) {
            self.numbers.insert(number);
        } else if let Some(number) = text.strip_prefix('-').and_then(number) {
            self.numbers.remove(&number);
        }
    }

    /// Has the kernel answer all that waits with an error.
    fn let_go(&mut self) {
        for number in std::mem::take(&mut self.numbers) {
            let abort = self.connections.join(number.to_string()).join("abort");
            match fs::write(&abort, "1") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    eprintln!("rumi-broker: cannot abort connection {number}: {error}");
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_and_go_by_lines_and_are_let_go_once() {
        let home = tempfile::tempdir().unwrap();
        for number in ["41", "42"] {
            fs::create_dir(home.path().join(number)).unwrap();
        }
        let mut watched = Watched {
            connections: home.path().to_owned(),
            numbers: BTreeSet::new(),
        };
        for line in ["+41", "+42", "", "-41", "+x", "nonsense", "+../../etc"] {
            watched.take(line.as_bytes());
        }
        watched.let_go();
        assert_eq!(
            fs::read_to_string(home.path().join("42/abort")).unwrap(),
            "1"
        );
        assert!(!home.path().join("41/abort").exists());
        assert!(watched.numbers.is_empty());
    }
}
