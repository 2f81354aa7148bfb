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

mod asking;
mod authority;
mod binaries;
mod broker;
mod content;
mod handlers;
mod home;
mod http;
mod janitor;
mod loopback;
mod misdeed;
mod name_server;
mod origin;
mod output;
mod peer;
mod postgres;
mod snippets;
mod street;
mod terminal;
mod waiting;
mod web_server;

pub use authority::{Authority, Identity};
pub use binaries::{binary, repository};
pub use broker::{Broker, Called, shared};
pub use content::content_sha256;
pub use handlers::answer;
pub use home::{Home, instance};
pub use http::Reply;
pub use loopback::{other_address, own_address};
pub use misdeed::{Ends, Misdeed};
pub use name_server::NameServer;
pub use origin::{Origin, Seen};
pub use output::{Output, run};
pub use peer::Peer;
pub use postgres::Postgres;
pub use snippets::write_snippets;
pub use street::{Echo, IDLE, PLACES, Street, client_hello, read_answer, say, tls_client};
pub use terminal::{Frame, Terminal, Told};
pub use waiting::{eventually, in_time, wait_for, within};
pub use web_server::WebServer;
