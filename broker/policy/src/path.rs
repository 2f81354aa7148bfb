//! Absolute paths of the host, and paths inside a pack.

use std::path::Path;
use std::sync::Arc;

use crate::spelling::{SpellingError, text_type};

/// Longest path and longest segment that Linux takes.
const PATH_BYTES: usize = 4095;
const SEGMENT_BYTES: usize = 255;

/// An absolute path in its one spelling: no `.`, `..`, empty segment or trailing slash.
///
/// Nothing is decoded: `%2e`, `~` and `$HOME` are file names. A newline is a legal byte of a
/// file name and stays one; whoever shows a path escapes it.
#[derive(Clone)]
pub struct AbsPath {
    text: Arc<str>,
}
text_type!(AbsPath);

impl AbsPath {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        const WHAT: &str = "an absolute path";
        let refuse = |why: &str| SpellingError::new(WHAT, text, why);
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| refuse("it must begin with `/`"))?;
        if text.len() > PATH_BYTES {
            return Err(refuse("it is longer than 4095 bytes"));
        }
        if !rest.is_empty() {
            check_segments(rest).map_err(refuse)?;
        }
        Ok(Self { text: text.into() })
    }

    /// The path for an already checked prefix of this one.
    fn prefix(&self, len: usize) -> Option<Self> {
        self.text.get(..len).map(|text| Self { text: text.into() })
    }

    pub fn is_root(&self) -> bool {
        &*self.text == "/"
    }

    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        self.prefix(self.text.rfind('/')?.max(1))
    }

    pub fn file_name(&self) -> Option<&str> {
        self.text.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// This path with one or more segments below it; `relative` is checked like any path.
    pub fn join(&self, relative: &str) -> Result<Self, SpellingError> {
        let base = if self.is_root() { "" } else { &*self.text };
        Self::parse(&format!("{base}/{relative}"))
    }

    /// Whether this path is `base` or lies below it, segment by segment.
    pub fn starts_with(&self, base: &Self) -> bool {
        self.strip_prefix(base).is_some()
    }

    /// What is left below `base`: empty for `base` itself.
    pub fn strip_prefix(&self, base: &Self) -> Option<&str> {
        if base.is_root() {
            return self.text.strip_prefix('/');
        }
        let rest = self.text.strip_prefix(&*base.text)?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }

    pub fn as_path(&self) -> &Path {
        Path::new(&*self.text)
    }

    /// This path and all directories above it, the longest first.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        let mut next = Some(&*self.text);
        std::iter::from_fn(move || {
            let current = next?;
            next = if current == "/" {
                None
            } else {
                current.rfind('/').and_then(|at| current.get(..at.max(1)))
            };
            Some(current)
        })
    }
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

/// A path below a pack's directory, in its one spelling.
#[derive(Clone)]
pub struct RelPath {
    text: Arc<str>,
}
text_type!(RelPath);

impl RelPath {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a path inside the pack", text, why);
        if text.len() > PATH_BYTES {
            return Err(refuse("it is longer than 4095 bytes"));
        }
        check_segments(text).map_err(refuse)?;
        if text.chars().any(char::is_control) {
            return Err(refuse("it contains a control character"));
        }
        Ok(Self { text: text.into() })
    }
}

fn check_segments(text: &str) -> Result<(), &'static str> {
    for segment in text.split('/') {
        match segment {
            "" => return Err("it contains an empty segment or ends in `/`"),
            "." => return Err("it contains a `.` segment"),
            ".." => return Err("it contains a `..` segment"),
            _ if segment.len() > SEGMENT_BYTES => {
                return Err("a segment of it is longer than 255 bytes");
            }
            _ if segment.contains('\0') => return Err("it contains a NUL byte"),
            _ => {}
        }
    }
    Ok(())
}
