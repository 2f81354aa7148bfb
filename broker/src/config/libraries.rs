//! Key `exec.requirements`: libraries that ad-hoc code finds.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::container::Requirements;

/// Libraries, by the language that they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Libraries {
    /// Packages for Python, installed from wheels as those of packs are.
    #[serde(deserialize_with = "requirements")]
    pub python: Requirements,
}

impl Libraries {
    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.python.text().is_empty()
    }

    /// What modules of these packages are called, where they are called as the package is.
    pub fn modules(&self) -> impl Iterator<Item = String> {
        let packages = self.python.packages();
        packages.map(|package| package.to_ascii_lowercase().replace('-', "_"))
    }
}

fn requirements<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Requirements, D::Error> {
    let lines = Vec::<String>::deserialize(deserializer)?;
    if let Some(line) = lines
        .iter()
        .find(|line| line.trim().is_empty() || line.contains('\n'))
    {
        return Err(D::Error::custom(format_args!(
            "`{}` in `exec.requirements` is not one requirement; write it as in [\"pandas==3.1.1\", \"numpy\"]",
            line.escape_debug()
        )));
    }
    Requirements::parse(lines.join("\n").as_bytes()).map_err(|error| {
        // The remedy for the whole file follows.
        let error = error.to_string().replacen("; remedy: ", "; ", 1);
        D::Error::custom(format_args!("`exec.requirements.python`, {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Libraries, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn libraries_are_requirements_and_name_their_modules() {
        let libraries =
            read(r#"{"python": ["Typing-Extensions>=4", "pandas[excel]==3.1.1", "six"]}"#);
        let libraries = libraries.unwrap();
        let modules: Vec<String> = libraries.modules().collect();
        assert_eq!(modules, ["typing_extensions", "pandas", "six"]);
        assert!(!libraries.is_empty());
        assert!(read(r#"{"python": []}"#).unwrap().is_empty() && read("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_requirement_is_refused_with_its_line() {
        for (text, part) in [
            (
                r#"{"python": ["six", "-r /etc/shadow"]}"#,
                "`exec.requirements.python`, line 2",
            ),
            (r#"{"python": ["x @ file:///etc/passwd"]}"#, "names a place"),
            (r#"{"python": ["six\npandas"]}"#, "is not one requirement"),
            (r#"{"python": [" "]}"#, "is not one requirement"),
            (
                r#"{"javascript": ["left-pad"]}"#,
                "unknown field `javascript`",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
