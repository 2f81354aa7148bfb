//! The directories of a grant.

use crate::path::AbsPath;

/// Granted directories, sorted, so that finding the one above a path takes a binary search for
/// each of its ancestors however many there are.
#[derive(Debug)]
pub(crate) struct Roots {
    sorted: Vec<AbsPath>,
}

impl Roots {
    pub(crate) fn new(mut directories: Vec<AbsPath>) -> Self {
        directories.sort();
        Self {
            sorted: directories,
        }
    }

    /// Every granted directory that is `path` or above it, the nearest first, with what is left
    /// of the path below it.
    pub(crate) fn above<'a>(
        &'a self,
        path: &'a AbsPath,
    ) -> impl Iterator<Item = (&'a AbsPath, &'a str)> {
        path.ancestors().filter_map(|ancestor| {
            let index = self
                .sorted
                .binary_search_by(|root| root.as_str().cmp(ancestor))
                .ok()?;
            let root = self.sorted.get(index)?;
            Some((root, path.strip_prefix(root)?))
        })
    }
}
