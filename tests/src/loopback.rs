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

/// Two more, for tests that stand up a site beside those of others: 127.128.0.0 and 127.192.0.0 and what follows.
#[must_use]
pub fn other_address(second: bool) -> Ipv4Addr {
    const OTHERS: u32 = 0x7f80_0000;
    Ipv4Addr::from(OTHERS + (u32::from(second) << 22) + std::process::id())
}
