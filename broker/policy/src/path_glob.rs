//! Globs over the paths of URLs.

use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::pattern;
use crate::spelling::{SpellingError, text_type};

/// A glob over the path of a request, without its query, as it is spelled in the request. `*` stays
/// within one segment and `**` crosses them.
#[derive(Clone)]
pub struct PathGlob {
    text: Arc<str>,
}
text_type!(PathGlob);

impl PathGlob {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new("a glob over paths of urls", text, why);
        check(text).map_err(refuse)?;
        build(text).map_err(|error| refuse(&error.kind().to_string()))?;
        Ok(Self { text: text.into() })
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > 1024 {
        return Err("it is longer than 1024 bytes");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it must begin with `/`");
    };
    if text.contains(['#', '\\']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("only visible ASCII other than `#` and backslashes is allowed");
    }
    pattern::check_classes(text)?;
    // The root, and a path that ends in a slash, are paths of their own.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(());
    }
    for segment in rest.split('/') {
        match segment {
            "" => return Err("it contains an empty segment"),
            "." | ".." => return Err("it contains a `.` or `..` segment"),
            _ => {}
        }
    }
    Ok(())
}

fn build(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(false)
        .build()
}

pub(crate) fn compile(globs: &[PathGlob]) -> Result<GlobSet, String> {
    let say = |error: globset::Error| error.to_string();
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(build(&glob.text).map_err(say)?);
    }
    set.build().map_err(say)
}
