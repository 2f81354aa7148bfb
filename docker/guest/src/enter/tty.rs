//! A command with a terminal of its own.
//!
//! The terminal is made here and not by the engine: what passes the engine's is neither framed nor
//! told apart, and the environment would be echoed on it.

use std::{ffi::OsString, io, os::fd::OwnedFd, str::FromStr};

use nix::sys::signalfd::SignalFd;
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{EnterError, Environment, Launch, pump::Pump, start};

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (rows, columns) = text.split_once('x').ok_or(())?;
        let number = |text: &str| text.parse::<u16>().map_err(drop);
        Ok(Self {
            rows: number(rows)?,
            columns: number(columns)?,
        })
    }
}

pub(super) fn resize(terminal: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

pub(super) fn keep(
    argv: &[OsString],
    environment: Environment,
    size: Size,
    signals: &SignalFd,
) -> Result<u8, EnterError> {
    let (master, slave) = open(size).map_err(EnterError::Tty)?;
    let copy = || slave.try_clone().map_err(EnterError::Tty);
    let (stdin, stdout) = (copy()?, copy()?);
    let mut command = Launch::Session.command(argv, &environment);
    let child = start(command.stdin(stdin).stdout(stdout).stderr(slave))?;
    drop((command, environment));
    Pump::new(master)
        .map_err(EnterError::Tty)?
        .run(signals, child)
}

fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    resize(&master, size)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}
