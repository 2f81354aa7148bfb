//! The Landlock domain in which a component's own code runs.

use std::{
    io,
    process::{Child, Command},
    thread,
};

use landlock::{
    AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

#[derive(Debug, thiserror::Error)]
enum DomainError {
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    #[error(transparent)]
    Root(#[from] PathFdError),
}

/// Confines the calling thread and all that it starts from now on: no process outside can be traced,
/// and since Linux 6.12 none can be sent a signal or spoken to by an abstract socket. A kernel
/// that cannot do it is no reason not to answer a call; `packctl doctor` says so.
pub(crate) fn enter() -> bool {
    scopes().or_else(|_| alone()).unwrap_or(false)
}

/// Starts a program in a domain that this process is not in: a domain binds the thread that enters it, and
/// what that thread starts.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let started = thread::scope(|scope| {
        let starting = scope.spawn(|| {
            enter();
            command.spawn()
        });
        starting.join()
    });
    started.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it failed")))
}

fn scopes() -> Result<bool, DomainError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}

/// A domain must restrict something to be one. Nobody here may make block devices anyway, and what
/// every older domain restricts besides, moving files between directories, is allowed again. Before Linux
/// 5.19 that cannot be allowed, and so there is no domain: tools need it more than they need another
/// wall around processes that are not dumpable.
fn alone() -> Result<bool, DomainError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::MakeBlock | AccessFs::Refer)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::Refer))?
        .restrict_self()?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}
