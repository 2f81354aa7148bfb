//! Section `exec.validation`: what ad-hoc code is looked through for before it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::vetting::{Language, Rule, is_name};

/// What is objected to. Advice for honest code: the container is the wall.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationSettings {
    /// Whether code is looked through at all.
    pub enabled: bool,
    /// What code must not do.
    #[serde(deserialize_with = "rules")]
    pub rules: BTreeSet<Rule>,
    /// What holds for Python only.
    pub python: LanguageSettings,
    /// What holds for JavaScript only.
    pub javascript: LanguageSettings,
    /// What holds for Bash only.
    pub bash: CommandSettings,
}

/// What is objected to in a language that has modules.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageSettings {
    /// Modules that may be imported, and what lies below them; `None` for any. The entry `standard` stands for
    /// a list of our own.
    #[serde(deserialize_with = "optional_names")]
    pub imports: Option<Vec<String>>,
    /// Functions and modules that are objected to as well.
    #[serde(deserialize_with = "names")]
    pub forbidden: Vec<String>,
    /// Functions and modules that the rules do not hold for.
    #[serde(deserialize_with = "names")]
    pub permitted: Vec<String>,
}

impl Default for LanguageSettings {
    fn default() -> Self {
        Self {
            imports: Some(vec![STANDARD.to_owned()]),
            forbidden: Vec::new(),
            permitted: Vec::new(),
        }
    }
}

/// What is objected to in Bash.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandSettings {
    /// Commands that are objected to as well.
    #[serde(deserialize_with = "names")]
    pub forbidden: Vec<String>,
    /// Commands that the rules do not hold for.
    #[serde(deserialize_with = "names")]
    pub permitted: Vec<String>,
}

/// What one run is free of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exemptions {
    /// Modules that it may import besides.
    pub imports: Vec<String>,
    /// It may write and remove files, because it keeps or gives back some.
    pub files: bool,
}

impl ValidationSettings {
    /// Names that are objected to in this language beyond the rules.
    #[must_use]
    pub fn forbidden(&self, language: Language) -> &[String] {
        match language {
            Language::Python => &self.python.forbidden,
            Language::Javascript => &self.javascript.forbidden,
            Language::Bash => &self.bash.forbidden,
        }
    }

    /// Names that the rules do not hold for in this language.
    #[must_use]
    pub fn permitted(&self, language: Language) -> &[String] {
        match language {
            Language::Python => &self.python.permitted,
            Language::Javascript => &self.javascript.permitted,
            Language::Bash => &self.bash.permitted,
        }
    }

    /// Modules that may be imported; `None` for any.
    #[must_use]
    pub fn imports(&self, language: Language) -> Option<Vec<&str>> {
        let (listed, standard) = match language {
            Language::Python => (&self.python.imports, PYTHON_IMPORTS),
            Language::Javascript => (&self.javascript.imports, JAVASCRIPT_IMPORTS),
            Language::Bash => return None,
        };
        let mut allowed = Vec::new();
        for name in listed.as_ref()? {
            if name == STANDARD {
                allowed.extend_from_slice(standard);
            } else {
                allowed.push(name.as_str());
            }
        }
        Some(allowed)
    }
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            rules: Rule::OPTIONAL.into_iter().collect(),
            python: LanguageSettings::default(),
            javascript: LanguageSettings::default(),
            bash: CommandSettings::default(),
        }
    }
}

/// Stands for the lists below.
const STANDARD: &str = "standard";

/// Of the standard library what calculates, reads and writes text, and of `os` what its functions are judged by one by one.
const PYTHON_IMPORTS: &[&str] = &[
    "__future__",
    "abc",
    "argparse",
    "array",
    "ast",
    "asyncio",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "colorsys",
    "concurrent",
    "configparser",
    "contextlib",
    "contextvars",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "email",
    "enum",
    "errno",
    "fnmatch",
    "fractions",
    "functools",
    "gc",
    "getopt",
    "glob",
    "graphlib",
    "gzip",
    "hashlib",
    "heapq",
    "hmac",
    "html",
    "http",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "keyword",
    "linecache",
    "locale",
    "logging",
    "lzma",
    "math",
    "matplotlib",
    "mimetypes",
    "numbers",
    "numpy",
    "operator",
    "os",
    "pandas",
    "pathlib",
    "platform",
    "pprint",
    "queue",
    "random",
    "re",
    "reprlib",
    "rumi",
    "sched",
    "scipy",
    "secrets",
    "shlex",
    "shutil",
    "signal",
    "sqlite3",
    "stat",
    "statistics",
    "string",
    "stringprep",
    "struct",
    "sys",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "time",
    "timeit",
    "token",
    "tokenize",
    "tomllib",
    "traceback",
    "tracemalloc",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib",
    "uuid",
    "warnings",
    "weakref",
    "xml",
    "zipfile",
    "zlib",
    "zoneinfo",
];

const JAVASCRIPT_IMPORTS: &[&str] = &[
    "assert",
    "async_hooks",
    "buffer",
    "console",
    "constants",
    "crypto",
    "diagnostics_channel",
    "dns",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "os",
    "path",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "stream",
    "string_decoder",
    "timers",
    "tls",
    "tty",
    "undici",
    "url",
    "util",
    "zlib",
];

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Rule>, D::Error> {
    let rules = BTreeSet::<Rule>::deserialize(deserializer)?;
    match rules.iter().find(|rule| !Rule::OPTIONAL.contains(rule)) {
        Some(rule) => Err(D::Error::custom(format_args!(
            "`{rule}` is not a rule that is switched on and off; those are {}",
            Rule::OPTIONAL.map(Rule::as_str).join(", ")
        ))),
        None => Ok(rules),
    }
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(D::Error::custom(format_args!(
            "`{name}` is not a name; write a module, a function or a command, such as \"os.system\""
        ))),
        None => Ok(names),
    }
}

fn optional_names<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    struct Names(#[serde(deserialize_with = "names")] Vec<String>);
    Ok(Option::<Names>::deserialize(deserializer)?.map(|names| names.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(text: &str) -> Option<Vec<String>> {
        let settings: ValidationSettings = serde_json::from_str(text).unwrap();
        let listed = settings.imports(Language::Python)?;
        Some(listed.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_list_of_imports_is_what_it_says_and_standard_stands_for_ours() {
        let standard = imports("{}").unwrap();
        assert!(standard.contains(&"math".to_owned()) && !standard.contains(&"socket".to_owned()));
        // A section that says something else keeps the list.
        assert_eq!(
            imports(r#"{"python": {"forbidden": ["os.kill"]}}"#),
            Some(standard.clone())
        );
        assert_eq!(imports(r#"{"python": {"imports": []}}"#), Some(Vec::new()));
        assert_eq!(imports(r#"{"python": {"imports": null}}"#), None);
        let more = imports(r#"{"python": {"imports": ["standard", "socket"]}}"#).unwrap();
        assert_eq!(more.len(), standard.len() + 1);
        assert!(more.contains(&"socket".to_owned()));
    }
}
