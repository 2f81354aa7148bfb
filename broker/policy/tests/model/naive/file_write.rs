//! Writing, making, deleting and renaming.

use super::places::{self, above, against, against_real, forbidden, holds_forbidden};
use super::{Given, Objections, Opinion, first};
use crate::request::{Found, Terms};

const MAX_BYTES: u64 = 1 << 30;
const QUOTA_BYTES: u64 = 16 << 30;
const QUOTA_FILES: u64 = 100_000;

fn ends<'a>(action: &str, path: &'a str, to: &'a str) -> Vec<&'a str> {
    if action == "rename" {
        vec![path, to]
    } else {
        vec![path]
    }
}

pub fn ask(given: &Given, action: &str, path: &str, to: &str, bytes: u64) -> Opinion {
    let is_file = matches!(action, "write" | "append" | "create");
    let mut objections = Vec::new();
    for end in ends(action, path, to) {
        let mut others = against(given, end, is_file, false);
        // The granted directory itself stays as it is.
        let is_root = above(given, end).iter().any(|(_, rest)| rest.is_empty());
        if is_root && !matches!(action, "look" | "mkdir -p") {
            others.push("not_a_file");
        }
        let first_of_it = first(vec![forbidden(given, &[end]), others], Terms::new());
        objections.extend(first_of_it.err().unwrap_or_default());
    }
    if objections.is_empty() {
        objections.extend(given.too_many(bytes, "max_bytes", MAX_BYTES));
    }
    let terms = Terms::from([(
        "max_bytes",
        given.number("max_bytes", MAX_BYTES).to_string(),
    )]);
    first(vec![objections], terms)
}

pub fn confirm(
    given: &Given,
    action: &str,
    path: &str,
    to: &str,
    bytes: u64,
    found: &Found,
) -> Opinion {
    let is_directory = found.kind == Some("directory") || action.starts_with("mkdir");
    let root_is = found.root_is.as_deref();
    let mut ends = vec![(
        path,
        places::real(given, path, root_is, found.leads_to.as_deref(), false),
    )];
    if action == "rename" {
        let real = places::real(given, to, root_is, found.to_leads_to.as_deref(), false);
        ends.push((to, real));
    }
    let mut objections = Vec::new();
    for (asked, (root, real)) in &ends {
        let steps = vec![
            forbidden(given, &[real]),
            against_real(given, asked, (root, real), is_directory, false),
        ];
        let first_of_it = first(steps, Terms::new());
        objections.extend(first_of_it.err().unwrap_or_default());
    }
    objections.extend(against_kind(action, found));
    if action == "rename" && found.kind == Some("directory") {
        // What is in the directory moves along.
        let touched = ends.iter().any(|(asked, (_, real))| {
            holds_forbidden(given, asked) || holds_forbidden(given, real)
        });
        if touched {
            objections.push("forbidden_by_scope");
        }
        let alone = |(asked, _): &(&str, _)| places::is_alone(given, asked);
        if ends.iter().any(alone) {
            objections.push("outside_directory");
        }
        if places::narrows(given) {
            objections.push("pattern_excluded");
        }
    }
    let before = if action == "append" && found.kind == Some("file") {
        found.size
    } else {
        0
    };
    if action == "append" {
        objections.extend(given.too_many(before + bytes, "max_bytes", MAX_BYTES));
    }
    objections.extend(against_quota(given, action, bytes, found));
    let most = given.number("max_bytes", MAX_BYTES);
    let terms = Terms::from([
        ("max_bytes", most.saturating_sub(before).to_string()),
        (
            "quota_bytes",
            given.number("quota_bytes", QUOTA_BYTES).to_string(),
        ),
        (
            "quota_files",
            given.number("quota_files", QUOTA_FILES).to_string(),
        ),
    ]);
    first(vec![objections], terms)
}

/// Only files are written, only what is a file or a directory is moved or deleted, and a file with a
/// second name is neither written nor moved.
fn against_kind(action: &str, found: &Found) -> Objections {
    let mut objections = Vec::new();
    let is_special = |kind: Option<&str>| matches!(kind, Some("symlink" | "other"));
    let has_names = found.kind == Some("file") && found.links > 1;
    match action {
        "write" | "create" | "append" => {
            if !matches!(found.kind, None | Some("file")) {
                objections.push("not_a_file");
            }
            if has_names {
                objections.push("outside_directory");
            }
        }
        "delete" if is_special(found.kind) => objections.push("not_a_file"),
        "rename" => {
            if is_special(found.kind) || is_special(found.to_kind) {
                objections.push("not_a_file");
            }
            if has_names {
                objections.push("outside_directory");
            }
        }
        _ => {}
    }
    objections
}

/// What it would add to the account, as far as it is known, against what there is room for. What is over its quota may still do
/// what adds nothing.
fn against_quota(given: &Given, action: &str, bytes: u64, found: &Found) -> Objections {
    let exists = found.kind.is_some();
    let (more_bytes, more_files) = match action {
        "write" if found.in_place && exists => (bytes, 0),
        "write" | "create" => (bytes, 1),
        "append" => (bytes, u64::from(!exists)),
        "mkdir" | "mkdir -p" => (0, found.missing),
        _ => (0, 0),
    };
    if more_bytes == 0 && more_files == 0 {
        return Vec::new();
    }
    let Some((has_bytes, has_files)) = found.usage else {
        return vec!["quota"];
    };
    let too_big = has_bytes + more_bytes > given.number("quota_bytes", QUOTA_BYTES);
    let too_many = has_files + more_files > given.number("quota_files", QUOTA_FILES);
    if (more_bytes > 0 && too_big) || (more_files > 0 && too_many) {
        return vec!["quota"];
    }
    Vec::new()
}
