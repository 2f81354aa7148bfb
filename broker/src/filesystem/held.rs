//! The time between an opening and its close, in which the request goes on: its outcome is recorded
//! at the end, with all bytes that were read and written meanwhile.

use std::sync::Arc;

use fuser::FopenFlags;
use rumi_policy::{Capability, Reason};

use super::{opens::OpenFile, shared::Shared};
use crate::{lease::Lease, refusal::Refusal};

/// Every read and write comes to the broker, none is answered from the kernel's pages; a close has
/// nothing to say that the release does not say again.
pub(super) const FLAGS: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_NOFLUSH);

/// Waits until the file is closed, or its lease ends and it is closed here.
pub(super) async fn until_closed<C: Capability>(
    shared: &Arc<Shared>,
    open: &Arc<OpenFile>,
    mut lease: Lease<C>,
) -> Result<(), Refusal> {
    tokio::select! {
        () = open.closed() => Ok(()),
        // What was opened for both reading and writing ends when either is revoked.
        () = open.revoked() => Err(revoked("the other half of what it was opened for was revoked")),
        denial = lease.revoked() => {
            open.revoke();
            shared.invalidate(open.inode);
            Err(revoked(denial.sentence))
        }
    }
}

pub(super) fn revoked(sentence: impl Into<String>) -> Refusal {
    Refusal::Denied {
        reason: Reason::Revoked,
        sentence: sentence.into(),
        record: String::new(),
    }
}
