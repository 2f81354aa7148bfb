//! An address on the loopback interface that this process has for itself, so that servers can have the ports
//! that everybody knows, however many tests run.

use std::net::Ipv4Addr;

/// 127.32.0.0 and what follows: a process id has at most 22 bits.
const FIRST: u32 = 0x7f20_0000;

/// This process's own address; every one of 127.0.0.0/8 leads to this machine.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    Ipv4Addr::from(FIRST + std::process::id())
}
