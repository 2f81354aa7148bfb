//! Connections to judged addresses.

use std::{io, net::SocketAddr, time::Duration};

use rumi_policy::Destination;
use tokio::{net::TcpStream, time::Instant};

use super::deadline;

/// An address that does not answer must not use up the time of those after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no connection was made. The messages name the host that was asked for, never an address: where
/// names lead is not the pack's business.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// None of the addresses answered in time.
    #[error("`{authority}` did not answer in time; try again later or allow more time")]
    Timeout {
        /// Host and port.
        authority: String,
    },
    /// All addresses refused, or cannot be reached.
    #[error("cannot connect to `{authority}`: {source}; check the host and the port")]
    Failed {
        /// Host and port.
        authority: String,
        /// What the last address tried said.
        source: io::Error,
    },
    /// There was nothing to dial.
    #[error("`{authority}` has no address that may be dialled")]
    NoAddress {
        /// Host and port.
        authority: String,
    },
}

/// Connects to the first judged address that answers, trying them in their order. Only a confirmation holds
/// a destination.
pub(crate) async fn dial(
    destination: &Destination,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let authority = || destination.authority();
    let port = destination.port().get();
    let addresses = destination.addresses();
    let mut failure = DialError::NoAddress {
        authority: authority(),
    };
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        let until = deadline.min(now + share.min(CONNECT_TIMEOUT));
        match deadline::before(until, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(source) => {
                    failure = DialError::Failed {
                        authority: authority(),
                        source,
                    };
                }
            },
            Ok(Err(source)) => {
                failure = DialError::Failed {
                    authority: authority(),
                    source,
                };
            }
            Err(deadline::Passed) => {
                failure = DialError::Timeout {
                    authority: authority(),
                };
            }
        }
    }
    Err(failure)
}
