//! Holds the books against what is there: for files that others than the broker removed, and for
//! changes that an earlier broker did not live to end.

use std::{
    io,
    path::Path,
    sync::PoisonError,
    time::{Duration, Instant},
};

use rumi_policy::ComponentId;
use rustix::{
    fs::{AtFlags, CWD, Stat},
    io::Errno,
};

use super::{Inode, Quotas, size};

/// How long one count of a component's files is good for.
const COUNTED_FOR: Duration = Duration::from_secs(60);
/// Files that are looked at while names stand still.
const AT_ONCE: usize = 64;

/// What a path says of a file that was there.
enum Seen {
    There,
    /// The same, under the number of another boot.
    Renumbered(Inode),
    Gone,
    /// Its file system is not there, for instance.
    Unknown,
}

impl Quotas {
    /// Done once, before anybody is served.
    pub(super) fn catch_up(&self) {
        let unfinished = self.books().unfinished();
        for (account, id, begun) in unfinished {
            let now = look(&*begun.path).ok().flatten();
            let now = now.map(|stat| (Inode::from(&stat), size(&stat)));
            self.books().recover(account, id, begun, now);
        }
        self.recount(None);
    }

    /// Counts again what a component has, unless that was done a moment ago; says whether.
    pub fn recount_if_due(&self, component: &ComponentId) -> bool {
        let now = Instant::now();
        let mut recounted = self
            .recounted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = recounted.get(component);
        if last.is_some_and(|last| now.saturating_duration_since(*last) < COUNTED_FOR) {
            return false;
        }
        recounted.insert(component.clone(), now);
        drop(recounted);
        self.recount(Some(component));
        true
    }

    /// Forgets files that are gone; of one component, or of all.
    fn recount(&self, component: Option<&ComponentId>) {
        let files = self.books().closed_files(component);
        for some in files.chunks(AT_ONCE) {
            // Nobody who asks the broker can move a file out of the way meanwhile.
            let names = self.names();
            for inode in some {
                let Some(path) = self.books().path_of(*inode) else {
                    continue;
                };
                match see(&path, *inode) {
                    Seen::There | Seen::Unknown => {}
                    Seen::Renumbered(new) => self.books().renumber(*inode, new),
                    Seen::Gone => self.books().forget(*inode),
                }
            }
            drop(names);
        }
    }
}

fn see(path: &str, known: Inode) -> Seen {
    match look(path) {
        Ok(Some(stat)) if Inode::from(&stat) == known => Seen::There,
        Ok(Some(stat)) if stat.st_ino == known.number => Seen::Renumbered(Inode::from(&stat)),
        // Another file has its place, on the same file system or on one of another boot.
        Ok(Some(_)) => Seen::Gone,
        Ok(None) => match nearest(Path::new(path)) {
            Some(stat) if stat.st_dev == known.device => Seen::Gone,
            _ => Seen::Unknown,
        },
        Err(_) => Seen::Unknown,
    }
}

/// The directory nearest above a path that is there.
fn nearest(path: &Path) -> Option<Stat> {
    let above = path.ancestors().skip(1);
    above.filter_map(|path| look(path).ok().flatten()).next()
}

fn look(path: impl rustix::path::Arg) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
