//! `rumi-broker`, in the foreground.

use std::process::ExitCode;

use clap::Parser as _;
use rumi_broker::{Args, WATCHDOG, run, watch};

fn main() -> ExitCode {
    // Not for people: the broker starts itself once more, to let go of files when it hangs.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == WATCHDOG) {
        return watch(words.next().unwrap_or_default().as_ref());
    }
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rumi-broker: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
