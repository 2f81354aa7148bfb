//! Headers by which a client has a server act on another method or path than those of the request line.

use crate::denial::Denial;
use crate::reason::Reason;
use crate::rules::Narrowed;

const METHOD: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];
const PATH: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-prefix",
];

/// Those of them that a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    method: Option<&'static str>,
    path: Option<&'static str>,
}

impl Overrides {
    pub(super) fn among<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for name in names {
            found.method = found.method.or_else(|| one_of(&METHOD, name));
            found.path = found.path.or_else(|| one_of(&PATH, name));
        }
        found
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        self.method.into_iter().chain(self.path)
    }

    /// What is narrowed is not to be said a second time.
    pub(super) fn check(self, narrowed: Narrowed) -> Result<(), Denial> {
        let refuse = |reason, name, what| {
            let sentence = format!(
                "the policy narrows `{what}`, and the header `{name}` could tell the server another; leave it out"
            );
            Err(Denial::new(reason, sentence))
        };
        match (self.method, self.path) {
            (Some(name), _) if narrowed.methods => {
                refuse(Reason::MethodNotAllowed, name, "methods")
            }
            (_, Some(name)) if narrowed.paths => refuse(Reason::PathNotAllowed, name, "paths"),
            _ => Ok(()),
        }
    }
}

/// Many servers take an underscore for a hyphen.
fn one_of(known: &[&'static str], name: &str) -> Option<&'static str> {
    let spelled = name.replace('_', "-");
    let fits = |known: &&&'static str| known.eq_ignore_ascii_case(&spelled);
    known.iter().find(fits).copied()
}
