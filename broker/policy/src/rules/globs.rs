//! The patterns of a file grant, compiled.

use globset::{GlobSet, GlobSetBuilder};

use crate::pattern::Pattern;

/// Patterns that narrow a grant. `include` is taken literally from the granted directory down;
/// `exclude` errs on the side of excluding: what it matches is excluded with everything below
/// it, and a pattern of one segment (`*.key`) excludes at any depth.
#[derive(Debug)]
pub(crate) struct Globs {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
}

impl Globs {
    pub(crate) fn new(include: Option<&[Pattern]>, exclude: &[Pattern]) -> Result<Self, String> {
        let say = |error: globset::Error| error.to_string();
        let include = match include {
            None => None,
            Some(patterns) => {
                let mut set = GlobSetBuilder::new();
                for pattern in patterns {
                    set.add(pattern.glob().map_err(say)?);
                }
                Some(set.build().map_err(say)?)
            }
        };
        let exclude = if exclude.is_empty() {
            None
        } else {
            let mut set = GlobSetBuilder::new();
            for pattern in exclude {
                let deep = if pattern.is_single_segment() {
                    pattern.anywhere()
                } else {
                    pattern.clone()
                };
                set.add(deep.glob().map_err(say)?);
                set.add(deep.glob_below().map_err(say)?);
            }
            Some(set.build().map_err(say)?)
        };
        Ok(Self { include, exclude })
    }

    pub(crate) fn excludes(&self, relative: &str) -> bool {
        self.exclude
            .as_ref()
            .is_some_and(|set| !relative.is_empty() && set.is_match(relative))
    }

    pub(crate) fn includes(&self, relative: &str) -> bool {
        self.include
            .as_ref()
            .is_none_or(|set| set.is_match(relative))
    }

    /// Whether a path of one segment passes both.
    pub(crate) fn allows(&self, name: &str) -> bool {
        self.includes(name) && !self.excludes(name)
    }

    pub(crate) fn narrows(&self) -> bool {
        self.include.is_some() || self.exclude.is_some()
    }
}
