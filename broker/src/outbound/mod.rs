//! The way out: names to addresses, addresses to connections, connections to replies.
//!
//! Nothing here decides. What may be asked is settled before [`Resolver::resolve`], which addresses
//! may be dialled after it; [`dial`] takes the destination of a policy's confirmation and nothing else, so
//! that an address nobody judged cannot be connected to.

mod answers;
mod deadline;
mod dial;
mod exchange;
mod fetch;
mod hello;
mod hop_by_hop;
mod metered;
mod name_servers;
mod own;
mod payload;
mod pool;
mod request;
mod resolver;
mod tls;
mod traffic;
mod upstream;

#[cfg(test)]
mod tests;

pub(crate) use answers::Answers;
pub(crate) use dial::dial;
pub(crate) use fetch::{FetchError, FetchFailure, Limits, Reply, fetch};
pub(crate) use hello::{HelloError, hello_in, read_hello};
pub(crate) use hop_by_hop::strip;
pub(crate) use name_servers::NameServers;
pub(crate) use own::own_addresses;
pub(crate) use payload::Payload;
pub(crate) use pool::{Line, Pool, Route};
pub(crate) use resolver::{ResolveError, Resolver};
pub(crate) use tls::Tls;
pub(crate) use traffic::{Counted, Traffic, splice};
pub(crate) use upstream::{Exchanged, exchange, is_reusable, keep_alive, open, upload};
