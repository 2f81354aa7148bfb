//! The five permissions: each a handler that acts on a recorded permit, and on nothing else.

mod env;
mod files;
mod network;
mod terminal;

pub use env::EnvHandler;
pub use files::{
    ListHandler, ReadHandler, ReadStreamHandler, StatHandler, StreamStart, UploadHandler,
    WriteHandler,
};
pub use network::{FetchHandler, ResolveHandler};
pub use terminal::TerminalHandler;
