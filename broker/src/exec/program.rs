//! What runs code of each language, and what the code finds around it.

use std::{collections::BTreeMap, fmt};

use rumi_policy::ComponentId;
use serde::Serialize;

use crate::{container::surroundings_of, vetting::Language};

/// Where code runs. It is memory, and nothing of the host's.
pub(super) const DIRECTORY: &str = "/workspace";

/// A command inside of a container.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) directory: &'static str,
    /// Whether it is told of the proxy.
    pub(super) network: bool,
}

impl fmt::Debug for Program {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.argv).finish()
    }
}

/// The file that holds the code.
pub(super) fn main_file(language: Language) -> &'static str {
    match language {
        Language::Python => "main.py",
        Language::Javascript => "main.js",
        Language::Bash => "main.sh",
    }
}

impl Program {
    /// Runs the code, as it lies in its file.
    pub(super) fn new(
        language: Language,
        component: &ComponentId,
        venv: bool,
        network: bool,
    ) -> Self {
        let file = main_file(language).to_owned();
        let argv = match (language, venv) {
            (Language::Python, true) => vec!["/opt/venv/bin/python".to_owned(), file],
            (Language::Python, false) => vec!["/usr/bin/python3".to_owned(), file],
            (Language::Javascript, _) => vec!["/usr/bin/node".to_owned(), file],
            (Language::Bash, _) => vec!["/bin/bash".to_owned(), file],
        };
        let mut env: BTreeMap<String, String> = surroundings_of(component, network).collect();
        for (name, value) in [
            // What was printed before a run is ended must not wait in a buffer.
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTHONNOUSERSITE", "1"),
            ("PYTHONPATH", "/usr/lib/rumi/python"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        if venv {
            // They make a thread for each processor of the host, and a run may have few.
            for library in ["OMP", "OPENBLAS", "MKL"] {
                env.insert(format!("{library}_NUM_THREADS"), "1".to_owned());
            }
        }
        Self {
            argv,
            env,
            directory: DIRECTORY,
            network,
        }
    }
}

/// Whether an interpreter of this language is started before there is any code for it: one that takes long to start, and
/// reads its file once and from the beginning.
pub(super) fn starts_ahead(language: Language) -> bool {
    matches!(language, Language::Python)
}

/// Whether an interpreter that waits reads this code as it would read it from an ordinary file. Python begins anew for a
/// spelling other than UTF-8, which cannot be done where its file is a pipe.
pub(super) fn fits_ahead(language: Language, code: &str) -> bool {
    let declares = |line: &str| line.contains("coding");
    starts_ahead(language) && !code.starts_with('\u{feff}') && !code.lines().take(2).any(declares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_says_how_it_is_spelled_is_read_from_a_file() {
        assert!(fits_ahead(Language::Python, "print(1)\n# one\n# coding: x"));
        for code in [
            "# coding: latin-1\n",
            "#!/x\n# -*- coding: utf-8 -*-",
            "\u{feff}1",
        ] {
            assert!(!fits_ahead(Language::Python, code), "{code}");
        }
        assert!(!fits_ahead(Language::Bash, "true"));
    }
}
