//! The static binary inside every container: PID 1, the workers of its components,
//! and the list of its programs. It knows nothing but the wire contracts.

mod arguments;
mod backoff;
mod component;
mod init;
mod network;
mod programs;
mod say;
mod wipe;
mod worker;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say::line(&error);
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        Command::Init { worker } => init::run(worker).map_err(|error| say::chain(&error)),
        Command::Worker(options) => worker::run(options).map_err(|error| say::chain(&error)),
        Command::Programs => programs::print().map_err(|error| say::chain(&error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say::line(&text);
            ExitCode::FAILURE
        }
    }
}
