//! One server on a component's socket: gRPC, the Connect protocol's JSON form,
//! plain bodies for bulk, the proxy forms of unmodified software, and the upgrade of a spare.

mod bulk;
mod connect;
mod corked;
mod listener;
mod near;
mod proxy;
mod route;
mod spare;
mod terminal;

pub use listener::{Listener, ListenerError};
