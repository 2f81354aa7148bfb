//! A command while it runs: what goes in and comes out, why it ended, and who may end it.
//!
//! Where it runs, in a sandbox container or on the host, makes no difference here.

mod collect;
mod environment;
mod feed;
pub mod host;
mod keep;
mod lines;
mod outcome;
mod passing;
mod registry;

pub use collect::{Collected, collect};
pub use environment::Environment;
pub use feed::Reach;
pub use keep::{Bounds, Ends, keep};
pub use lines::{Input, Lines, Output, Signal, Size, Worker, lines};
pub use outcome::{Outcome, Stopped};
pub use registry::{Registry, Shown};
