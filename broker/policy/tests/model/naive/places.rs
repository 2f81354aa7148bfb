//! Paths: what is forbidden, what lies below what, and what patterns leave out.

use super::wildcards::{fits, fits_path};
use super::{Given, Objections};

/// The names of a path, without the root's.
fn names(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

/// What is left of a path below a directory; empty for the directory itself.
pub fn below(directory: &str, path: &str) -> Option<String> {
    let (directory, path) = (names(directory), names(path));
    if path.len() < directory.len() || path[..directory.len()] != directory[..] {
        return None;
    }
    Some(path[directory.len()..].join("/"))
}

/// Whether an entry of a forbidden list begins with these names, or they with it.
fn begins(entry: &[&str], path: &[&str]) -> bool {
    entry
        .iter()
        .zip(path)
        .all(|(wanted, name)| fits(wanted, name))
}

/// The forbidden entries as names, and whether they are meant at any depth. A star in the name
/// of one of the broker's own directories is a star.
fn is_forbidden_by(
    given: &Given,
    path: &str,
    says: impl Fn(&[&str], &[&str], bool) -> bool,
) -> bool {
    let path = names(path);
    let listed = given.limit_texts("forbidden").iter().any(|entry| {
        let anywhere = entry.starts_with("**/");
        let entry = names(entry.trim_start_matches("**"));
        says(&entry, &path, anywhere)
    });
    listed
        || given.protected.iter().any(|own| {
            let own = names(own);
            let shared = own.len().min(path.len());
            // The names are compared as they are; what `says` then asks is only about lengths.
            own[..shared] == path[..shared] && says(&vec!["*"; own.len()], &path, false)
        })
}

/// Whether the path is, or lies below, something forbidden.
pub fn is_forbidden(given: &Given, path: &str) -> bool {
    is_forbidden_by(given, path, |entry, path, anywhere| {
        let starts = if anywhere { 0..path.len() } else { 0..1 };
        starts
            .into_iter()
            .any(|at| path.len() - at.min(path.len()) >= entry.len() && begins(entry, &path[at..]))
    })
}

/// Whether the path is forbidden, or something forbidden could lie below it. An entry that is meant at
/// any depth counts once its first name is in the path.
pub fn holds_forbidden(given: &Given, path: &str) -> bool {
    is_forbidden(given, path)
        || is_forbidden_by(given, path, |entry, path, anywhere| {
            let starts = if anywhere { 0..path.len() } else { 0..1 };
            starts.into_iter().any(|at| {
                let at = at.min(path.len());
                path.len() - at < entry.len() && begins(entry, &path[at..])
            })
        })
}

/// All granted directories above a path (or that are it), with what is left of the path below each; the nearest first.
pub fn above(given: &Given, path: &str) -> Vec<(String, String)> {
    let mut above: Vec<(String, String)> = given
        .granted("directories")
        .into_iter()
        .filter_map(|directory| {
            let rest = below(&directory, path)?;
            Some((directory, rest))
        })
        .collect();
    above.sort_by_key(|(_, rest)| rest.len());
    above
}

/// Whether `exclude` leaves this out: it, or a directory above it, matches. A pattern without a
/// `/` excludes at any depth.
pub fn is_excluded(given: &Given, relative: &str) -> bool {
    let patterns = given.texts("exclude").unwrap_or_default();
    let names = names(relative);
    (1..=names.len()).any(|count| {
        let leading = names[..count].join("/");
        patterns.iter().any(|pattern| {
            if pattern.contains('/') {
                fits_path(pattern, &leading)
            } else {
                fits_path(pattern, names[count - 1])
            }
        })
    })
}

/// Whether a file is one of those that `patterns` name, where there are any.
pub fn is_included(given: &Given, relative: &str) -> bool {
    match super::texts(&given.grant["patterns"]) {
        None => true,
        Some(patterns) => patterns.iter().any(|pattern| fits_path(pattern, relative)),
    }
}

/// Whether the grant narrows its directories.
pub fn narrows(given: &Given) -> bool {
    given.grant["patterns"].is_array()
        || given
            .texts("exclude")
            .is_some_and(|patterns| !patterns.is_empty())
}

/// Whether the path is granted by itself, and by no directory from which it matches the patterns.
pub fn is_alone(given: &Given, path: &str) -> bool {
    let named = given.granted("files").iter().any(|file| file == path);
    let included = above(given, path)
        .iter()
        .any(|(_, rest)| is_included(given, rest));
    named && !included
}

fn parent_and_name(path: &str) -> (String, String) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { "/" } else { parent };
    (parent.to_owned(), name.to_owned())
}

/// What holds against a path as it was asked for. `is_file` says whether it must be a file's, and
/// `listed` whether it must be a directory's.
pub fn against(given: &Given, path: &str, is_file: bool, listed: bool) -> Objections {
    let above = above(given, path);
    let alone = is_alone(given, path) && !listed;
    if above.is_empty() && !alone {
        return vec!["outside_directory"];
    }
    if alone && is_excluded(given, &parent_and_name(path).1) {
        return vec!["pattern_excluded"];
    }
    let excluded = above.iter().any(|(_, rest)| is_excluded(given, rest));
    let included = above.iter().any(|(_, rest)| is_included(given, rest));
    if excluded || (is_file && !included && !alone) {
        return vec!["pattern_excluded"];
    }
    Vec::new()
}

/// What holds against the place that a path led to.
pub fn against_real(
    given: &Given,
    path: &str,
    (root, real): (&str, &str),
    is_directory: bool,
    listed: bool,
) -> Objections {
    let Some(rest) = below(root, real) else {
        return vec!["outside_directory"];
    };
    let excluded = above(given, real)
        .iter()
        .any(|(_, rest)| is_excluded(given, rest));
    if excluded || is_excluded(given, &rest) {
        return vec!["pattern_excluded"];
    }
    if is_alone(given, path) && !listed {
        // Nothing but that name was granted, wherever in the directory a link leads.
        return match rest == parent_and_name(path).1 {
            true => Vec::new(),
            false => vec!["outside_directory"],
        };
    }
    let named = above(given, path)
        .iter()
        .any(|(_, rest)| is_included(given, rest));
    if is_directory || (named && is_included(given, &rest)) {
        return Vec::new();
    }
    vec!["pattern_excluded"]
}

/// `forbidden_by_scope`, where one of the paths is forbidden.
pub fn forbidden(given: &Given, paths: &[&str]) -> Objections {
    let hit = paths.iter().any(|path| is_forbidden(given, path));
    if hit {
        vec!["forbidden_by_scope"]
    } else {
        Vec::new()
    }
}

/// Where a path leads from the nearest granted directory from which it matches the patterns, or from the
/// nearest, or from its own where it is granted by itself: what the kernel calls the granted
/// directory, and what it calls the file. A listing is of a directory, which nothing grants by itself.
pub fn real(
    given: &Given,
    path: &str,
    root_is: Option<&str>,
    leads_to: Option<&str>,
    listed: bool,
) -> (String, String) {
    let (root, rest) = if is_alone(given, path) && !listed {
        parent_and_name(path)
    } else {
        let above = above(given, path);
        let fits = |(_, rest): &&(String, String)| is_included(given, rest);
        above.iter().find(fits).unwrap_or(&above[0]).clone()
    };
    let root = root_is.map_or(root, str::to_owned);
    let joined = match (root.as_str(), rest.as_str()) {
        (root, "") => root.to_owned(),
        ("/", rest) => format!("/{rest}"),
        (root, rest) => format!("{root}/{rest}"),
    };
    let real = leads_to.map_or(joined, str::to_owned);
    (root, real)
}
