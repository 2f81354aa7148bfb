//! Real sockets on the loopback interface, and servers that misbehave on purpose.

mod authority;
mod confirmation;
mod connections;
mod lookups;
mod name_server;
mod origin;
mod replies;
mod requests;
mod trust;
