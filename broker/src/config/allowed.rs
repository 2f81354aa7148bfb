//! Which packages packs may require from the registry.

use serde::{Deserialize, Deserializer, de::Error as _};

/// The admin's list; without one, packs require what an admin approved with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedRequirements(Option<Vec<Allowed>>);

/// A package, of any version or of exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    name: String,
    version: Option<String>,
}

impl AllowedRequirements {
    /// The name of the first package that a requirement of these lines asks for and the list does
    /// not have. The lines are in the one spelling that is handed to pip.
    pub fn lacks<'a>(&self, mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let list = self.0.as_ref()?;
        // A line that is an option (`--require-hashes`) asks for nothing.
        lines.find(|line| !line.starts_with('-') && !list.iter().any(|one| one.admits(line)))
    }
}

impl Allowed {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = split(text);
        let version = match rest {
            "" => None,
            _ => Some(rest.strip_prefix("==")?),
        };
        let plain = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "._+!-".contains(c);
            !text.is_empty() && text.chars().all(fits)
        };
        (plain(name) && version.is_none_or(plain)).then(|| Self {
            name: normalised(name),
            version: version.map(str::to_owned),
        })
    }

    fn admits(&self, line: &str) -> bool {
        let (name, rest) = split(line);
        // What follows are extras, versions, a marker and hashes, in this order.
        let rest = rest.split([';', ' ']).next().unwrap_or_default();
        let versions = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').map_or("", |(_, versions)| versions),
            None => rest,
        };
        let version = || versions.strip_prefix("==");
        normalised(name) == self.name
            && (self.version.is_none() || version() == self.version.as_deref())
    }
}

/// A package's name and what stands behind it.
fn split(text: &str) -> (&str, &str) {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A package's name as registries compare it.
fn normalised(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

impl<'de> Deserialize<'de> for AllowedRequirements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Option::<Vec<String>>::deserialize(deserializer)?;
        let parse = |text: &String| {
            Allowed::parse(text).ok_or_else(|| {
                D::Error::custom(format_args!(
                    "`{text}` names no package; write `NAME`, or `NAME==VERSION`"
                ))
            })
        };
        let list: Option<Result<Vec<_>, _>> = list.map(|list| list.iter().map(parse).collect());
        Ok(Self(list.transpose()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> AllowedRequirements {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_list_admits_names_and_pinned_versions_and_nothing_else() {
        let allowed = list(r#"["Ruamel.yaml", "requests==2.32.3"]"#);
        let admitted = |line: &'static str| allowed.lacks([line].into_iter()).is_none();
        for line in [
            "ruamel-yaml",
            "RUAMEL_YAML>=0.17, <1",
            "ruamel.yaml[jinja2]==0.18 ; python_version >= \"3.8\"",
            "requests==2.32.3",
            "requests[socks]==2.32.3 --hash=sha256:aa",
            "requests==2.32.3 ; python_version > \"3\"",
            "--require-hashes",
        ] {
            assert!(admitted(line), "{line}");
        }
        for line in [
            "requests",
            "requests>=2.32.3",
            "requests===2.32.3",
            "requests==2.32.3,!=1",
            "requests==2.32.*",
            "requests==2.32.30",
            "requests[x]",
            "ruamel",
            "ruamel.yaml.clib",
            "request",
            "numpy",
        ] {
            assert!(!admitted(line), "{line}");
        }
        assert_eq!(
            allowed.lacks(["ruamel.yaml", "six"].into_iter()),
            Some("six")
        );
    }

    #[test]
    fn no_list_is_no_limit_and_an_empty_one_allows_nothing() {
        assert_eq!(list("null").lacks(["six"].into_iter()), None);
        assert_eq!(AllowedRequirements::default(), list("null"));
        assert_eq!(list("[]").lacks(["six"].into_iter()), Some("six"));
        assert_eq!(list("[]").lacks([].into_iter()), None);
    }

    #[test]
    fn what_names_no_package_is_no_entry() {
        for text in [
            "",
            "==1",
            "six>=1",
            "six==",
            "six ==1",
            "*",
            "six==1,<2",
            "a/b",
        ] {
            let json = serde_json::to_string(&[text]).unwrap();
            let read = serde_json::from_str::<AllowedRequirements>(&json);
            let message = read.unwrap_err().to_string();
            assert!(message.contains("names no package"), "{text}: {message}");
        }
    }
}
