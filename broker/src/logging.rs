//! Diagnostics: JSON to a rolling file, plain lines to stderr. The audit log is elsewhere.

use std::{io::IsTerminal as _, path::Path};

use tracing_appender::{
    non_blocking::{NonBlockingBuilder, WorkerGuard},
    rolling,
};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Days that the files of diagnostics are kept.
const KEPT: usize = 14;

/// Lines that may wait for the file. The queue's memory is taken at once, 32 bytes a line.
const QUEUED: usize = 8 * 1024;

/// Starts diagnostics; the guard writes out what is queued when it is dropped.
///
/// # Errors
/// When the log's directory cannot be written.
pub(crate) fn start(directory: &Path) -> Result<WorkerGuard, rolling::InitError> {
    let files = rolling::Builder::new()
        .rotation(rolling::Rotation::DAILY)
        .filename_prefix("broker")
        .filename_suffix("jsonl")
        .max_log_files(KEPT)
        .build(directory)?;
    // The non-blocking writer drops lines when it is full, which is why no decision goes here.
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED)
        .finish(files);
    let file = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(writer)
        .with_filter(filter());
    let human = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .with_filter(filter());
    tracing_subscriber::registry().with(file).with(human).init();
    Ok(guard)
}

/// `RUST_LOG`, but never the engine client's debug lines: they print environments.
fn filter() -> EnvFilter {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    [
        "bollard=info",
        "hyper=info",
        "h2=info",
        "hickory_resolver=info",
    ]
    .into_iter()
    .filter_map(|directive| directive.parse().ok())
    .fold(filter, EnvFilter::add_directive)
}
