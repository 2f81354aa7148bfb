//! Between a terminal and the broker: framed input one way, plain output the other.
//!
//! A frame is its kind, two bytes of length, big-endian, and so many bytes: `I` input, `R` rows and
//! columns of two bytes each, `E` the end of the input. Neither side is read further than the other takes.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::sys::signalfd::SignalFd;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, ioctl_fionbio, read, write},
    termios::{SpecialCodeIndex, tcgetattr},
};

use super::{
    EnterError, To, attend,
    tty::{Size, resize},
};

/// Bytes held for a side that does not take them.
const HELD: usize = 64 * 1024;
const HEAD: usize = 3;
/// Pieces of output that are moved before signals are looked at: a command without end must not
/// hide that its parent has ended. A terminal holds less than so many pieces.
const ROUNDS: usize = 16;

pub(super) struct Pump {
    master: OwnedFd,
    /// Frames that have not come whole.
    frames: Vec<u8>,
    to_master: Vec<u8>,
    to_broker: Vec<u8>,
    input_open: bool,
    output_open: bool,
}

impl Pump {
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&master, true)?;
        ioctl_fionbio(io::stdin().as_fd(), true)?;
        ioctl_fionbio(io::stdout().as_fd(), true)?;
        Ok(Self {
            master,
            frames: Vec::new(),
            to_master: Vec::new(),
            to_broker: Vec::new(),
            input_open: true,
            output_open: true,
        })
    }

    /// Until the command has ended and its last words are passed on.
    pub(super) fn run(mut self, signals: &SignalFd, child: u32) -> Result<u8, EnterError> {
        let mut code = None;
        loop {
            self.turn().map_err(EnterError::Pump)?;
            if let Some(ended) = attend(signals, child, To::Group)? {
                code = Some(ended);
                // What it wrote before its end is in the terminal by now.
                self.turn().map_err(EnterError::Pump)?;
            }
            // Its children may hold the terminal open for longer; they end with this process.
            if let Some(code) = code
                && self.to_broker.is_empty()
            {
                return Ok(code);
            }
            self.wait(signals)?;
        }
    }

    fn wait(&self, signals: &SignalFd) -> Result<(), EnterError> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut terminal = PollFlags::empty();
        terminal.set(PollFlags::IN, self.output_open && self.to_broker.is_empty());
        terminal.set(
            PollFlags::OUT,
            self.output_open && !self.to_master.is_empty(),
        );
        let mut wanted = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        // A descriptor of which nothing is wanted would still report that its peer is gone.
        if !terminal.is_empty() {
            wanted.push(PollFd::from_borrowed_fd(self.master.as_fd(), terminal));
        }
        if self.takes_input() {
            wanted.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        if !self.to_broker.is_empty() {
            wanted.push(PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT));
        }
        match poll(&mut wanted, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(EnterError::Poll(error)),
        }
    }

    fn takes_input(&self) -> bool {
        self.input_open && self.to_master.len() < HELD
    }

    /// Moves what can be moved now.
    fn turn(&mut self) -> io::Result<()> {
        while self.takes_input() {
            match take(io::stdin(), &mut self.frames)? {
                Taken::Some => self.understand()?,
                Taken::Nothing => break,
                Taken::End => self.input_open = false,
            }
        }
        give(&self.master, &mut self.to_master)?;
        for _ in 0..ROUNDS {
            give(io::stdout(), &mut self.to_broker)?;
            if !self.to_broker.is_empty() || !self.output_open {
                return Ok(());
            }
            match take(&self.master, &mut self.to_broker)? {
                Taken::Some => {}
                Taken::Nothing => return Ok(()),
                Taken::End => self.output_open = false,
            }
        }
        Ok(())
    }

    fn understand(&mut self) -> io::Result<()> {
        while let Some((&kind, length)) = self
            .frames
            .split_first()
            .and_then(|(kind, rest)| Some((kind, rest.first_chunk::<2>()?)))
        {
            let length = usize::from(u16::from_be_bytes(*length));
            if self.frames.len() < HEAD + length {
                return Ok(());
            }
            let frame: Vec<u8> = self.frames.drain(..HEAD + length).skip(HEAD).collect();
            match (kind, frame.as_slice()) {
                (b'I', data) => self.to_master.extend_from_slice(data),
                (b'E', []) => self.to_master.push(end_of_input(&self.master)),
                (b'R', [a, b, c, d]) => {
                    let size = Size {
                        rows: u16::from_be_bytes([*a, *b]),
                        columns: u16::from_be_bytes([*c, *d]),
                    };
                    resize(&self.master, size)?;
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

/// The character that ends the input of a terminal; Ctrl-D unless the command chose another.
fn end_of_input(terminal: &OwnedFd) -> u8 {
    tcgetattr(terminal).map_or(4, |settings| settings.special_codes[SpecialCodeIndex::VEOF])
}

enum Taken {
    Some,
    Nothing,
    End,
}

fn take(from: impl AsFd, to: &mut Vec<u8>) -> io::Result<Taken> {
    let mut buffer = [0; 16 * 1024];
    match read(from, &mut buffer) {
        Ok(0) => Ok(Taken::End),
        Ok(count) => {
            to.extend_from_slice(buffer.get(..count).unwrap_or_default());
            Ok(Taken::Some)
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
        // So a terminal says that nobody holds its other side any more.
        Err(Errno::IO) => Ok(Taken::End),
        Err(error) => Err(error.into()),
    }
}

fn give(to: impl AsFd, from: &mut Vec<u8>) -> io::Result<()> {
    let mut given = 0;
    while let Some(rest) = from.get(given..).filter(|rest| !rest.is_empty()) {
        match write(&to, rest) {
            Ok(count) => given += count,
            Err(Errno::AGAIN | Errno::INTR) => break,
            // Nobody takes it any more.
            Err(Errno::IO | Errno::PIPE) => given = from.len(),
            Err(error) => return Err(error.into()),
        }
    }
    from.drain(..given);
    Ok(())
}
