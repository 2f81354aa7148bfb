//! The guest as a whole, against a broker on real sockets.

#[cfg(test)]
mod init;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod service;
mod spare;
#[cfg(test)]
mod support;
#[cfg(test)]
mod worker;
