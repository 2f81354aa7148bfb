//! Between whoever asked for a command and the command: bounded both ways, so that the slower
//! side sets the pace.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// Pieces of output that wait for a slow reader; each is a few dozen KiB at most.
const WAITING: usize = 4;
/// Pieces of input that wait to be looked at.
const INCOMING: usize = 16;

/// What may be sent to a command that runs.
#[derive(Debug)]
pub enum Input {
    /// Bytes for its standard input.
    Data(Bytes),
    /// No more of them.
    End,
    /// Its terminal has another size.
    Resize(Size),
    /// A signal, for the command and what it started in its own process group.
    Signal(Signal),
}

/// What comes from a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// From its standard output, or its terminal.
    Stdout(Bytes),
    /// From its standard error.
    Stderr(Bytes),
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// From top to bottom.
    pub rows: u16,
    /// From left to right.
    pub columns: u16,
}

/// The signals that may be sent; a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The terminal is gone.
    Hangup,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-\.
    Quit,
    /// Ends whatever runs, the whole sandbox with it.
    Kill,
    /// The first of the two without a meaning.
    User1,
    /// The second.
    User2,
    /// Please end.
    Terminate,
}

impl Signal {
    /// The name, as kill(1) takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "HUP",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::User1 => "USR1",
            Self::User2 => "USR2",
            Self::Terminate => "TERM",
        }
    }

    const ALL: [Self; 7] = [
        Self::Hangup,
        Self::Interrupt,
        Self::Quit,
        Self::Kill,
        Self::User1,
        Self::User2,
        Self::Terminate,
    ];

    /// The signal of this number, where it may be sent.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// The signal of this name, without `SIG`, where it may be sent.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// The number, which an exit code above 128 tells.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::User1 => 10,
            Self::User2 => 12,
            Self::Terminate => 15,
        }
    }
}

/// The asking side.
#[derive(Debug)]
pub struct Lines {
    /// Where input goes.
    pub input: mpsc::Sender<Input>,
    /// Where output comes from; dropping it ends the command.
    pub output: mpsc::Receiver<Output>,
    /// How many bytes of input the command has taken so far.
    pub taken: watch::Receiver<u64>,
}

/// The command's side.
#[derive(Debug)]
pub struct Worker {
    /// Where input comes from. When it ends without [`Input::End`], that is an end too.
    pub input: mpsc::Receiver<Input>,
    /// Where output goes.
    pub output: mpsc::Sender<Output>,
    /// Told of input that was taken.
    pub taken: watch::Sender<u64>,
}

/// Both ends.
#[must_use]
pub fn lines() -> (Lines, Worker) {
    let (input, incoming) = mpsc::channel(INCOMING);
    let (outgoing, output) = mpsc::channel(WAITING);
    let (taking, taken) = watch::channel(0);
    let asking = Lines {
        input,
        output,
        taken,
    };
    let worker = Worker {
        input: incoming,
        output: outgoing,
        taken: taking,
    };
    (asking, worker)
}
