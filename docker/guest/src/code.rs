//! Keeps one run of ad-hoc code: a small process that waits in its control group, takes the files
//! and the command from the broker, and passes on what the command writes.
//!
//! It begins as every spare does (an upgrade, `prepare`, `ready`). From then on a frame is its kind,
//! four bytes of length, big-endian, and so many bytes. From the broker come `F` (two bytes of length, a
//! file's name, its content), `S` (what runs, as JSON), `A` (the same, to be started before its file is there) and `G`
//! (the file is there), `I` and `E` (input and its end) and `C` (give the files of a directory); to it go `o` and `e` (output), `f` and `d` (a file's name, its content), `w`
//! (why something could not be done) and `x` (the end, as JSON).
//!
//! It runs under the code's own user. Its memory is hidden from the code, which runs in a Landlock domain of its own and
//! can signal nothing outside of it (before Linux 6.12 it can kill this process, which ends the run).

mod ahead;
mod files;
mod start;
mod wire;

use std::{io, path::Path};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use self::{ahead::Ahead, start::Running, wire::Wire};

#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    #[error("cannot hide the memory of this process")]
    Dumpable(#[source] rustix::io::Errno),
    #[error("the conversation with the broker failed")]
    Wire(#[source] io::Error),
    #[error("the broker said something that makes no sense here: `{0}`")]
    Nonsense(char),
    #[error("the broker's words are no JSON")]
    Json(#[source] serde_json::Error),
}

impl From<io::Error> for CodeError {
    fn from(error: io::Error) -> Self {
        Self::Wire(error)
    }
}

/// Serves one run to its end.
pub(crate) fn run(socket: &Path) -> Result<(), CodeError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(CodeError::Dumpable)?;
    let (wire, mut reader) = Wire::open(socket)?;
    reader.prepared()?;
    wire.ready()?;
    let mut running = None;
    let mut ahead: Option<Ahead> = None;
    while let Some((kind, length)) = reader.head()? {
        match kind {
            b'F' => {
                if let Some(ahead) = &mut ahead {
                    ahead.settle();
                }
                if let Err(error) = files::take(&mut reader, length)? {
                    wire.failed(&error)?;
                }
            }
            b'S' => {
                if let Some(ahead) = ahead.take() {
                    ahead.give_up();
                }
                let what = serde_json::from_slice(&reader.content(length)?);
                running = Running::begin(&wire, &what.map_err(CodeError::Json)?)?;
            }
            b'A' => {
                let what = serde_json::from_slice(&reader.content(length)?);
                ahead = Some(Ahead::begin(what.map_err(CodeError::Json)?));
            }
            b'G' => {
                let Some(ahead) = ahead.take() else {
                    return Err(CodeError::Nonsense('G'));
                };
                let what = ahead.what().clone();
                running = match ahead.go_on() {
                    Some(child) => Some(Running::attend(&wire, child)),
                    None => Running::begin(&wire, &what)?,
                };
            }
            b'I' => {
                let input = reader.content(length)?;
                if let Some(running) = &mut running {
                    running.feed(&input);
                }
            }
            b'E' => {
                if let Some(running) = &mut running {
                    running.end_input();
                }
            }
            b'C' => {
                let what = serde_json::from_slice(&reader.content(length)?);
                files::give(&wire, &what.map_err(CodeError::Json)?)?;
            }
            other => return Err(CodeError::Nonsense(char::from(other))),
        }
    }
    Ok(())
}
