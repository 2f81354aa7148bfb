//! What the end-to-end tests stand on: a home in a temporary directory, a real broker with
//! packs in it, the admin's tool, and a component's own view of its socket.
//!
//! Everything here ends the test where a step of the set-up fails: a fixture has nobody to
//! hand an error to.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a step that fails is a failed test"
)]

mod binaries;
mod broker;
mod home;
mod http;
mod janitor;
mod name_server;
mod output;
mod peer;
mod waiting;
mod web_server;

pub use binaries::{binary, repository};
pub use broker::{Broker, Called, shared};
pub use home::Home;
pub use http::Reply;
pub use name_server::NameServer;
pub use output::{Output, run};
pub use peer::Peer;
pub use waiting::{eventually, wait_for, within};
pub use web_server::WebServer;
