//! What an attack leaves behind for later calls: after each of them the next call is answered, calls are as
//! quick as before, the broker is as small, and nothing of the attack is there any more.
//!
//! A program of its own, because the time of a call is what is looked at: `cargo test` runs programs one
//! after the other, and so nothing of this suite runs beside it.

#[cfg(test)]
mod runners;
#[cfg(test)]
mod stand;
