//! The way out: names to addresses, addresses to connections, connections to replies.
//!
//! Nothing here decides. What may be asked is settled before [`Resolver::resolve`], which addresses
//! may be dialled after it; [`dial`] takes the destination of a policy's confirmation and nothing else, so
//! that an address nobody judged cannot be connected to.

mod deadline;
mod dial;
mod exchange;
mod fetch;
mod metered;
mod name_servers;
mod own;
mod payload;
mod request;
mod resolver;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use fetch::{FetchFailure, Limits, Reply, fetch};
pub(crate) use name_servers::NameServers;
pub(crate) use own::own_addresses;
pub(crate) use payload::Payload;
pub(crate) use resolver::{ResolveError, Resolver};
pub(crate) use tls::Tls;
