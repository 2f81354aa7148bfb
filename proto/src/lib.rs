//! The wire contracts of rumi. Everything here is generated; domain types live
//! beside the code that gives them meaning.

/// Version 1 of the contracts.
#[expect(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code is not ours to style"
)]
pub mod v1 {
    tonic::include_proto!("rumi.v1");
    include!(concat!(env!("OUT_DIR"), "/rumi.v1.serde.rs"));
}
