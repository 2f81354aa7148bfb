//! `/files`: granted directories as a file system, for programs that know nothing of rumi.
//!
//! The kernel names the uid of whoever asks, the uid is a component, and each opening is a request
//! like any other: decided, recorded, found below the handle of a granted directory, performed.
//! The request goes on until the file is closed, and its outcome has the bytes.

mod alongside;
mod answer;
mod asker;
mod attributes;
mod changes;
mod contents;
mod dispatch;
mod guard;
mod held;
mod listing;
mod looks;
mod metadata;
mod mount;
mod opens;
mod passthrough;
mod paying;
mod places;
mod reading;
mod session;
mod shared;
mod tree;
mod view;
mod watchdog;
mod writing;

use std::{path::Path, sync::Arc};

use rumi_policy::PackId;

pub use self::session::{MountError, Mounted};
pub(crate) use self::{asker::Asker, guard::Guard, mount::DEVICE};
pub use self::{guard::WATCHDOG, watchdog::run as watch};
use crate::broker::Broker;

/// Mounts the files of a pack where its container sees them as `/files`.
///
/// # Errors
/// When the kernel refuses; the pack runs without them then.
pub(crate) fn mount(
    broker: &Arc<Broker>,
    pack: &PackId,
    askers: Vec<Arc<Asker>>,
) -> Result<Mounted, MountError> {
    Mounted::begin(broker, pack, &broker.layout().pack_files(pack), askers)
}

/// Makes the empty directory that the container binds, with nothing mounted on it: a container
/// that bound the mount itself would keep it when it is dead.
///
/// # Errors
/// When the directory cannot be made.
pub(crate) fn prepare(point: &Path) -> std::io::Result<()> {
    mount::detach(point)?;
    match std::fs::create_dir(point) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
