//! One spare: a process that waits for one call, and keeps the program that answers it.
//!
//! It connects to the component's socket, is put into a control group by the broker, and is told
//! there what to run. The program runs in a Landlock domain of its own, which this process is not
//! in, so that it cannot be signalled or traced from there. One thread, no runtime: what waits for
//! a call should cost next to nothing.

mod arguments;
mod channel;
mod frames;
mod output;
mod program;
mod result;

use std::{io, path::Path, process::ExitCode};

use nix::sys::signal::SigSet;
use rustix::{
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior, setsid},
    thread::set_name,
};

use crate::say;

use self::{
    channel::{Channel, ChannelError},
    frames::{Call, Prepare, Start},
    program::{Happening, Reserved, Running},
    result::Answer,
};

/// The exit code of a spare that did not reach the broker, for the worker to tell it.
pub(crate) const NEVER_CAME: u8 = 69;

#[derive(Debug, thiserror::Error)]
enum SpareError {
    #[error("cannot keep this process to itself")]
    Alone(#[source] Errno),
    #[error("cannot unblock signals")]
    Signals(#[source] nix::Error),
    #[error("descriptor 3 is taken; start a spare with 0, 1 and 2 only")]
    Taken(#[source] io::Error),
    #[error("a spare cannot reach the broker")]
    Connect(#[source] ChannelError),
    #[error("the connection to the broker failed")]
    Channel(#[from] ChannelError),
    #[error("cannot keep the program")]
    Keep(#[source] io::Error),
}

/// Lives until its call is over.
pub(crate) fn run(socket: &Path) -> ExitCode {
    match live(socket) {
        // The broker has no use for this spare any more.
        Ok(()) | Err(SpareError::Channel(ChannelError::Closed)) => ExitCode::SUCCESS,
        Err(error @ (SpareError::Channel(_) | SpareError::Keep(_))) => {
            say::line(&say::chain(&error));
            ExitCode::FAILURE
        }
        Err(error) => {
            say::line(&say::chain(&error));
            ExitCode::from(NEVER_CAME)
        }
    }
}

fn live(socket: &Path) -> Result<(), SpareError> {
    let reserved = Reserved::reserve().map_err(SpareError::Taken)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(SpareError::Alone)?;
    SigSet::empty()
        .thread_set_mask()
        .map_err(SpareError::Signals)?;
    // `kill(0, …)` of a tool must not reach the worker.
    setsid().map_err(SpareError::Alone)?;
    set_name(c"rumi-spare").map_err(SpareError::Alone)?;
    let mut broker = Channel::connect(socket).map_err(SpareError::Connect)?;
    let prepare: Prepare = broker.receive()?;
    let mut tool = Tool {
        prepare,
        reserved,
        running: None,
    };
    if let Err(answer) = tool.load(&broker)? {
        broker.send(&answer.broken_frame())?;
        return Ok(broker.wait_for_end()?);
    }
    broker.send(br#"{"type":"ready"}"#)?;
    let Some(call) = tool.wait_for_call(&mut broker)? else {
        return Ok(());
    };
    let answer = tool.answer(&call, &broker)?;
    broker.send(&answer.result())?;
    Ok(broker.wait_for_end()?)
}

/// What the broker named, and the process that it has become.
struct Tool {
    prepare: Prepare,
    reserved: Reserved,
    running: Option<Running>,
}

impl Tool {
    /// All that can be done before the call.
    fn load(&mut self, broker: &Channel) -> Result<Result<(), Box<Answer>>, SpareError> {
        if let Err(error) = program::surroundings(&self.prepare) {
            return Ok(Err(Answer::broken(&error)));
        }
        if self.prepare.start == Start::AtCall {
            return Ok(Ok(()));
        }
        let mut running = match Running::ahead(&self.prepare, &mut self.reserved) {
            Ok(running) => running,
            Err(error) => return Ok(Err(Answer::broken(&error))),
        };
        let loaded = match running.until(broker, false).map_err(SpareError::Keep)? {
            Happening::Said(line) if line == b"ready" => Ok(()),
            Happening::Said(line) => Err(Answer::said(&line, "broken ", running.output())),
            Happening::Ended(status) => {
                Err(Answer::ended(status, "while it loaded", running.output()))
            }
            Happening::Broker => return Err(ChannelError::Closed.into()),
        };
        self.running = Some(running);
        Ok(loaded)
    }

    /// Nothing, where the program ended before the call came: the broker takes another spare.
    fn wait_for_call(&mut self, broker: &mut Channel) -> Result<Option<Call>, SpareError> {
        if let Some(running) = &mut self.running {
            match running.until(broker, true).map_err(SpareError::Keep)? {
                Happening::Broker => {}
                Happening::Said(_) | Happening::Ended(_) => return Ok(None),
            }
        }
        Ok(Some(broker.receive()?))
    }

    fn answer(&mut self, call: &Call, broker: &Channel) -> Result<Box<Answer>, SpareError> {
        let mut running = match self.running.take() {
            Some(mut running) => {
                running.tell(call.args()).map_err(SpareError::Keep)?;
                running
            }
            None => match Running::at_call(&self.prepare, &mut self.reserved, call) {
                Ok(running) => running,
                Err(error) => return Ok(Answer::broken(&error)),
            },
        };
        let happened = running.until(broker, false).map_err(SpareError::Keep)?;
        Ok(match happened {
            Happening::Said(line) => Answer::said(&line, "result ", running.output()),
            Happening::Ended(status) => match running.result() {
                Some(written) => Answer::written(written, status, running.output()),
                None => Answer::ended(status, "without an answer", running.output()),
            },
            // No answer is waited for any more, but what was printed is.
            Happening::Broker => Answer::given_up(running.output()),
        })
    }
}
