//! Globs of grants. They only narrow what a granted directory already confines.

use std::sync::Arc;

use globset::{Glob, GlobBuilder};

use crate::spelling::{SpellingError, text_type};

/// A glob over paths relative to the granted directory, where `*` stays within one segment and
/// `**` crosses them.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
}
text_type!(Pattern);

impl Pattern {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a pattern", text, why);
        check(text).map_err(refuse)?;
        build(text).map_err(|error| refuse(&error.kind().to_string()))?;
        Ok(Self { text: text.into() })
    }

    pub(crate) fn glob(&self) -> Result<Glob, globset::Error> {
        build(&self.text)
    }

    /// The same pattern for everything below what it matches.
    pub(crate) fn glob_below(&self) -> Result<Glob, globset::Error> {
        build(&format!("{}/**", self.text))
    }

    /// The same pattern at any depth.
    pub(crate) fn anywhere(&self) -> Self {
        Self {
            text: format!("**/{}", self.text).into(),
        }
    }

    pub(crate) fn is_single_segment(&self) -> bool {
        !self.text.contains('/')
    }
}

fn build(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > 1024 {
        return Err("it is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Err("it begins with `/`, but patterns are relative to the granted directory");
    }
    if text.contains(['\\', '\0']) {
        return Err("it contains a backslash or a NUL byte");
    }
    check_classes(text)?;
    for segment in text.split('/') {
        match segment {
            "" => return Err("it contains an empty segment or ends in `/`"),
            "." | ".." => return Err("it contains a `.` or `..` segment"),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses classes that would match a `/`.
pub(crate) fn check_classes(text: &str) -> Result<(), &'static str> {
    // A class such as `[!a]` or `[+-9]` matches `/` as well, and would cross segments.
    for class in text.split('[').skip(1) {
        let class = class.split(']').next().unwrap_or(class);
        let mut chars = class.chars();
        let first = chars.next();
        if matches!(first, Some('!' | '^')) || class.contains('/') {
            return Err("a class in brackets must not be negated or contain `/`");
        }
        let bytes: Vec<char> = class.chars().collect();
        let spans = |w: &[char]| matches!(w, [low, '-', high] if (*low..=*high).contains(&'/'));
        if bytes.windows(3).any(spans) {
            return Err("a range in brackets must not contain `/`");
        }
    }
    Ok(())
}
