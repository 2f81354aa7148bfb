//! Workers and their warm spares: one pool a component, one process a call.

mod admission;
mod attach;
mod call;
mod code;
mod ending;
mod frame;
mod lending;
mod pool;
mod spare;
mod spec;
mod wiping;

pub use attach::WorkerConnection;
pub use call::{CallReport, Stopped};
pub use code::{Keeper, NoKeeper};
pub use pool::Pool;
pub use spec::{CommandStart, Program, ToolSpec};
