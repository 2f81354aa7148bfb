//! Custom handlers: Python files of the admin's that are permissions, each run in a container
//! of its own as a pack that the broker makes of it. Nothing of such a file runs out here.

mod generated;
mod keeper;
mod load;
mod registry;
mod scan;

pub use keeper::start;
pub use registry::{Handlers, Live, NotLive, Opened, Shown};
