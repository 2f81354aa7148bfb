//! The directories of a grant.

use crate::path::AbsPath;

/// Up to this many directories are compared one by one, which is quicker than searching.
const FEW: usize = 8;

/// Granted directories, sorted, so that finding those above a path takes a binary search for
/// each of its ancestors where they are many.
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
        let is_few = self.sorted.len() <= FEW;
        // Of directories above one path, the longer sort behind the shorter.
        let few = is_few.then(|| self.sorted.iter().rev());
        let many = (!is_few).then(|| path.ancestors().filter_map(|text| self.find(text)));
        let roots = few.into_iter().flatten().chain(many.into_iter().flatten());
        roots.filter_map(|root| Some((root, path.strip_prefix(root)?)))
    }

    fn find(&self, text: &str) -> Option<&AbsPath> {
        let at = self
            .sorted
            .binary_search_by(|root| root.as_str().cmp(text))
            .ok()?;
        self.sorted.get(at)
    }
}
