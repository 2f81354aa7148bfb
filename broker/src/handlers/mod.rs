//! The five permissions and the calls of custom handlers: each acts on a recorded permit, and
//! on nothing else.

mod custom;
mod env;
mod files;
mod network;
mod terminal;

pub use custom::CustomHandler;
pub use env::EnvHandler;
pub use files::{
    Found, ListHandler, ReadHandler, ReadStreamHandler, StatHandler, StreamStart, UploadHandler,
    WriteHandler, find, find_itself, io_failure, kind_of, kind_of_type, root_failure,
};
pub use network::{
    FetchHandler, ForwardHandler, Inside, Near, NearStream, Passed, ResolveHandler, TunnelHandler,
};
pub use terminal::TerminalHandler;
