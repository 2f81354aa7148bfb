//! The host daemon. `pipeline.rs` is the way of a request; start there.

mod approval;
mod args;
mod broker;
mod caller;
mod capabilities;
mod command;
mod config;
mod container;
mod control;
mod custom;
mod daemon;
mod executions;
mod filesystem;
mod handlers;
mod layout;
mod lease;
mod logging;
mod outbound;
mod packs;
mod pending;
mod pipeline;
mod policy_store;
mod presence;
mod quota;
mod refusal;
mod secrets;
mod server;
mod throttle;
mod trust;
pub mod untrusted;
mod usage;
mod watch;
mod workers;

pub use args::Args;
pub use daemon::{DaemonError, run};
pub use filesystem::{WATCHDOG, watch};
