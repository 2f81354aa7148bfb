//! `packctl`, the admin's tool: builds and runs packs through the broker, edits
//! grants, explains decisions and checks the audit log.

mod asking;
mod atomic;
mod broker;
mod cli;
mod commands;
mod console;
mod context;
mod diff;
mod escape;
mod failure;
mod json_text;
mod judging;
mod looking;
mod moment;
mod output;
mod policy_files;
mod progress;
mod recorded;
mod usage;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, console::Console, context::Context, failure::Exit};

fn main() -> ExitCode {
    let console = Console::detect();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, console).into(),
    };
    let outcome = Context::new(cli.places, cli.output, console)
        .and_then(|mut context| commands::run(&mut context, cli.command));
    match outcome {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            failure.report(&console);
            failure.exit().into()
        }
    }
}
