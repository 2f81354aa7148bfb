//! Whether anybody still waits for the answer to a request.

use std::{fs, io, time::Duration};

use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the kernel is asked about a process that waits in it.
const LOOK: Duration = Duration::from_millis(100);
/// SIGKILL in a mask of signals.
const KILL: u64 = 1 << 8;

/// How it shows that whoever asked has gone away.
#[derive(Debug, Clone, Default)]
pub enum Presence {
    /// The future that serves the request is dropped then.
    #[default]
    Served,
    /// The request runs apart from whoever asked; he holds the other end of this.
    Apart(CancellationToken),
    /// A process waits in the kernel, where nothing but the answer wakes it: not even the signal
    /// that ends it.
    InKernel(u32),
}

impl Presence {
    /// For a request that runs apart, and what its asker holds for as long as he waits.
    #[must_use]
    pub fn apart() -> (Self, DropGuard) {
        let token = CancellationToken::new();
        (Self::Apart(token.clone()), token.drop_guard())
    }

    /// Resolves when nobody waits any more, where that can be seen.
    pub async fn left(&self) {
        match self {
            Self::Served => std::future::pending().await,
            Self::Apart(token) => token.cancelled().await,
            Self::InKernel(pid) => {
                while !is_ending(*pid) {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }
}

/// Whether a process has ended, or was told to in a way that it cannot refuse: the kernel turns any
/// signal that ends a process into this one, for all of its threads.
fn is_ending(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => has_kill_pending(&status),
        Err(error) => {
            error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
        }
    }
}

fn has_kill_pending(status: &str) -> bool {
    let masks = status.lines().filter_map(|line| {
        let mask = line.strip_prefix("SigPnd:");
        let mask = mask.or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.fold(0, |all, mask| all | mask) & KILL != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_kill_is_told_from_other_signals() {
        let status = |own: &str, shared: &str| {
            format!(
                "Name:\tx\nState:\tD (disk sleep)\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\tffffffffffffffff\n"
            )
        };
        let none = "0000000000000000";
        assert!(has_kill_pending(&status("0000000000000100", none)));
        assert!(has_kill_pending(&status(none, "0000000000004100")));
        assert!(!has_kill_pending(&status(none, none)));
        assert!(!has_kill_pending(&status("0000000000004002", none)));
    }

    #[test]
    fn a_process_that_lives_is_not_ending_and_one_that_is_gone_is() {
        assert!(!is_ending(std::process::id()));
        assert!(is_ending(u32::MAX));
    }

    #[tokio::test]
    async fn who_lets_go_has_left() {
        let (presence, here) = Presence::apart();
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, presence.left()).await.is_err());
        drop(here);
        presence.left().await;
    }
}
