//! Why code is not run.

use super::{
    check::CheckError, credentials::CredentialError, rights::RightsError, session::SessionError,
    slot::SlotError,
};

/// Why code was not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no container for it.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The log cannot be written.
    #[error("the audit log cannot be written, so nothing is done: {0}")]
    Audit(#[from] rumi_audit::Unavailable),
    /// What runs it is not there.
    #[error("{0}")]
    Lacking(&'static str),
    /// The code could not be looked through.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Rights are root's to give, as the files in `grants/` are.
    #[error(
        "only root may give a run a grant of its own; remedy: run packctl as root, or have the grant in grants/exec:tool:run.json"
    )]
    NotRoot,
    /// It cannot have the rights that it was to have.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// It cannot have a secret that it was to have.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The broker ends.
    #[error("the broker is stopping, and the run with it; remedy: try again when it is up")]
    Stopping,
    /// The run was given up half-way.
    #[error("the run ended in a failure of the broker; its log says why")]
    Failed,
}
