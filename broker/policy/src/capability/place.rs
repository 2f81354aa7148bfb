//! Where a path stands: below which granted directory, and whether anything forbids it.

use std::sync::Arc;

use crate::denial::Denial;
use crate::path::AbsPath;
use crate::permission::Permission;
use crate::reason::Reason;
use crate::rules::FileRule;

/// A path as a granted directory and what is left below it; of one that was granted by itself, the
/// directory it is in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) rule: Arc<FileRule>,
    pub(crate) root: AbsPath,
    path: AbsPath,
    /// Where in `path` the part below the root begins.
    start: usize,
    /// The path was granted by itself, so that nothing else of the root may be reached.
    alone: bool,
}

/// Whether the grant's `patterns` are asked about a path. They speak of files, so a directory
/// need not match them; `exclude` is asked about everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patterns {
    Apply,
    ApplyOnceKnown,
    /// It is asked for as a directory, of which a path that is granted by itself says nothing.
    OfDirectory,
}

pub(crate) fn forbidden(path: &AbsPath, entry: &str) -> Denial {
    let sentence = format!("`{}` is out of bounds for every component", shown(path));
    Denial::new(Reason::ForbiddenByScope, sentence).with_detail(format!(
        "`{entry}` is forbidden to all by the scope or the broker"
    ))
}

pub(crate) fn shown(path: &AbsPath) -> String {
    crate::spelling::excerpt(path.as_str())
}

fn excluded(path: &AbsPath) -> Denial {
    let sentence = format!(
        "the patterns of this component's grant leave out `{}`",
        shown(path)
    );
    Denial::new(Reason::PatternExcluded, sentence)
}

impl Place {
    /// What is left of the path below the root; empty for the root itself.
    pub(crate) fn relative(&self) -> &str {
        self.path.as_str().get(self.start..).unwrap_or_default()
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// The entry of the grant that this rests on.
    pub(crate) fn granted(&self) -> &AbsPath {
        if self.alone { &self.path } else { &self.root }
    }

    /// Finds the nearest granted directory above `path`, of those from which it matches the patterns
    /// where there is one; or else the path itself among those that are granted one by one, of
    /// which the patterns do not speak. An exclusion counts from every granted
    /// directory above it, so that granting a directory twice loosens nothing.
    pub(crate) fn find(
        rule: &Arc<FileRule>,
        path: &AbsPath,
        patterns: Patterns,
        permission: Permission,
    ) -> Result<Self, Denial> {
        if let Some(entry) = rule.limits.forbidden.covers(path) {
            return Err(forbidden(path, entry));
        }
        let mut nearest = None;
        let mut fitting = None;
        for (root, relative) in rule.roots.above(path) {
            if rule.globs.excludes(relative) {
                return Err(excluded(path));
            }
            nearest = nearest.or(Some((root, relative)));
            if fitting.is_none() && rule.globs.includes(relative) {
                fitting = Some((root, relative));
            }
        }
        let known = nearest.is_some();
        // What turns out to be a file is looked at from where it could be read.
        let itself = patterns != Patterns::OfDirectory && rule.names(path);
        let picked = match patterns {
            Patterns::Apply => fitting,
            Patterns::ApplyOnceKnown | Patterns::OfDirectory => {
                fitting.or(nearest.filter(|_| !itself))
            }
        };
        match picked {
            Some((root, relative)) => Ok(Self {
                rule: rule.clone(),
                root: root.clone(),
                path: path.clone(),
                start: path.as_str().len() - relative.len(),
                alone: false,
            }),
            None if itself => Self::alone(rule, path),
            None if known => Err(excluded(path)),
            None => {
                let sentence = format!(
                    "`{}` is not below a directory that `{permission}` was granted for",
                    shown(path)
                );
                Err(Denial::new(Reason::OutsideDirectory, sentence))
            }
        }
    }

    fn alone(rule: &Arc<FileRule>, path: &AbsPath) -> Result<Self, Denial> {
        let name = path.file_name().unwrap_or_default();
        if rule.globs.excludes(name) {
            return Err(excluded(path));
        }
        Ok(Self {
            rule: rule.clone(),
            root: path.parent().unwrap_or_else(|| path.clone()),
            path: path.clone(),
            start: path.as_str().len() - name.len(),
            alone: true,
        })
    }

    /// Judges where the path led once links were followed. The walk below the root's descriptor
    /// has confined it already; this holds the forbidden list and the patterns against the name
    /// the kernel gives it, so that no link gets round them.
    pub(crate) fn check_real(
        &self,
        asked: &AbsPath,
        real_root: &AbsPath,
        real_path: &AbsPath,
        is_directory: bool,
    ) -> Result<(), Denial> {
        if let Some(entry) = self.rule.limits.forbidden.covers(real_path) {
            return Err(forbidden(asked, entry));
        }
        let Some(relative) = real_path.strip_prefix(real_root) else {
            let sentence = format!("`{}` leads out of the granted directory", shown(asked));
            return Err(Denial::new(Reason::OutsideDirectory, sentence)
                .with_detail(format!("it leads to `{}`", shown(real_path))));
        };
        let globs = &self.rule.globs;
        let mut above = self.rule.roots.above(real_path);
        if globs.excludes(relative) || above.any(|(_, relative)| globs.excludes(relative)) {
            return Err(excluded(asked));
        }
        if self.alone {
            return self.check_alone(asked, real_path, relative);
        }
        // A directory among the files must not be opened by a name that only files may have,
        // and the name asked for counts as much as the name it led to.
        let fits = |relative| globs.includes(relative);
        if is_directory || (fits(relative) && fits(self.relative())) {
            return Ok(());
        }
        Err(excluded(asked))
    }

    /// What was granted by itself is that name: a symlink there would lead to a file that was not.
    fn check_alone(
        &self,
        asked: &AbsPath,
        real_path: &AbsPath,
        relative: &str,
    ) -> Result<(), Denial> {
        if relative == self.relative() {
            return Ok(());
        }
        let sentence = format!(
            "`{}` was granted by itself, and leads to another file",
            shown(asked)
        );
        Err(Denial::new(Reason::OutsideDirectory, sentence)
            .with_detail(format!("it leads to `{}`", shown(real_path))))
    }
}
