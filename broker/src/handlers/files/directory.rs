//! Opens a granted working directory for a command.

use std::{os::fd::OwnedFd, sync::Arc};

use rumi_policy::AbsPath;

use super::{io_failure, lookup, root_failure};
use crate::{pipeline::Context, policy_store::Root, refusal::Refusal};

/// A working directory that is held open, so that its path may mean something else later.
#[derive(Debug)]
pub struct WorkingDirectory {
    /// The directory.
    pub handle: OwnedFd,
    /// The granted directory it lies below.
    pub root: Arc<Root>,
    /// Where it really is.
    pub real_path: AbsPath,
    /// Whose it is.
    pub owner_uid: u32,
    /// Whose group's it is.
    pub owner_gid: u32,
}

/// Opens `relative` below `root`.
///
/// # Errors
/// When it is not there or not a directory.
pub fn open_for_terminal(
    context: Context<'_>,
    root: &AbsPath,
    relative: &str,
    asked: &AbsPath,
) -> Result<WorkingDirectory, Refusal> {
    let root = context
        .policy
        .roots
        .get(root)
        .map_err(|error| root_failure(&error))?;
    let found = lookup::find_directory(&root, relative)
        .map_err(|error| io_failure(asked.as_str(), &error))?;
    Ok(WorkingDirectory {
        owner_uid: found.stat.st_uid,
        owner_gid: found.stat.st_gid,
        real_path: found.real_path,
        handle: found.handle,
        root,
    })
}
