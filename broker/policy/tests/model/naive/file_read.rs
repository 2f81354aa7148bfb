//! Reading, listing and looking.

use super::places::{self, against, against_real, forbidden};
use super::{Given, Objections, Opinion, first};
use crate::request::{Found, Terms};

const MAX_BYTES: u64 = 4 << 30;

pub fn ask(given: &Given, action: &str, path: &str) -> Opinion {
    // Patterns speak of files, and only of what is read is it known that it has to be one.
    let steps = vec![
        forbidden(given, &[path]),
        against(given, path, action == "read", action == "list"),
    ];
    let mut terms = Terms::new();
    terms.insert(
        "max_bytes",
        given.number("max_bytes", MAX_BYTES).to_string(),
    );
    let passthrough = given.grant["passthrough"] == true;
    terms.insert("passthrough", passthrough.to_string());
    first(steps, terms)
}

pub fn confirm(
    given: &Given,
    action: &str,
    path: &str,
    (offset, length): (u64, u64),
    found: &Found,
) -> Opinion {
    let root_is = found.root_is.as_deref();
    let listed = action == "list";
    let leads_to = found.leads_to.as_deref();
    let (root, real) = places::real(given, path, root_is, leads_to, listed);
    let is_directory = found.kind == Some("directory");
    let mut objections = against_real(given, path, (&root, &real), is_directory, listed);
    let mut bytes = 0;
    match action {
        "read" if found.kind == Some("file") => {
            let rest = found.size.saturating_sub(offset);
            bytes = if length == 0 || length > rest {
                rest
            } else {
                length
            };
            objections.extend(given.too_many(bytes, "max_bytes", MAX_BYTES));
        }
        "read" => objections.push("not_a_file"),
        "list" if !is_directory => objections.push("not_a_file"),
        _ => {}
    }
    let steps: Vec<Objections> = vec![forbidden(given, &[&real]), objections];
    first(steps, Terms::from([("bytes", bytes.to_string())]))
}
