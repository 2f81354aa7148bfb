//! The static binary inside every container: PID 1, the workers of its components,
//! the spares that wait for a call, the keeper of one command, the names of granted commands, and the list of programs. It knows nothing but the wire contracts.

mod arguments;
mod backoff;
mod code;
mod component;
mod confined;
mod domain;
mod enter;
mod init;
mod network;
mod program;
mod programs;
mod say;
mod spare;
mod wipe;
mod worker;

use std::process::ExitCode;

use arguments::Command;

fn main() -> ExitCode {
    let first = std::env::args_os().next();
    if let Some(call) = program::called(first.as_deref()) {
        return program::run(&call, std::env::args_os().skip(1));
    }
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say::line(&error);
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        Command::Enter(options) => return enter::run(&options),
        Command::Host(options) => return enter::on_host(&options),
        Command::Launch(how, argv) => return enter::launch(how, &argv),
        Command::Spare { socket } => return spare::run(&socket),
        Command::Confined(options) => return confined::run(&options),
        Command::Init { worker } => init::run(worker).map_err(|error| say::chain(&error)),
        Command::Worker(options) => worker::run(options).map_err(|error| say::chain(&error)),
        Command::Code(socket) => code::run(&socket).map_err(|error| say::chain(&error)),
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
