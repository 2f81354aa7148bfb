//! What the policy allows and refuses, seen from outside the crate.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in the functions it calls as well"
)]

mod attacks;
mod conditions;
mod custom;
mod edit;
mod env;
mod exact;
mod file_read;
mod file_write;
mod files_of_policy;
mod inject;
mod manifest;
mod network;
mod shipped;
mod spellings;
mod template;
mod terminal;
mod tunnels;
mod world;
