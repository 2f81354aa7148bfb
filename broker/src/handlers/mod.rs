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
    ListHandler, ReadHandler, ReadStreamHandler, StatHandler, StreamStart, UploadHandler,
    WriteHandler,
};
pub use network::{FetchHandler, ForwardHandler, Inside, Passed, ResolveHandler, TunnelHandler};
pub use terminal::TerminalHandler;
