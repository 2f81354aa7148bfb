//! The host daemon. `pipeline.rs` is the way of a request; start there.

mod container;
mod outbound;
