//! Names of tools that were added by `packctl tool add`.

use std::{fmt, str::FromStr};

use rumi_policy::{ComponentId, PackId};

/// What the names of their packs begin with.
const PREFIX: &str = "tool-";

/// A tool's name, fit to be a pack's and a component's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolName {
    pack: PackId,
    component: ComponentId,
}

impl ToolName {
    /// The pack that holds it and nothing else.
    pub(super) fn pack(&self) -> &PackId {
        &self.pack
    }

    /// What is called, and what grants are given to.
    pub(super) fn component(&self) -> &ComponentId {
        &self.component
    }

    /// The tool whose pack would be called so.
    pub(super) fn of_pack(pack: &str) -> Option<Self> {
        pack.strip_prefix(PREFIX)?.parse().ok()
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.component.name())
    }
}

impl FromStr for ToolName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |name: &str| {
            let pack: PackId = format!("{PREFIX}{name}").parse().ok()?;
            let component = format!("{pack}:tool:{name}").parse().ok()?;
            Some(Self { pack, component })
        };
        // What `packctl ps` shows of it is its name as well.
        let name = text.rsplit(':').next().unwrap_or_default();
        parse(name)
            .filter(|found| text == name || text == found.component.as_str())
            .ok_or_else(|| {
                "the name of a tool is up to 43 lower-case letters, digits, `_` and `-`, and begins with a letter or a digit"
                    .to_owned()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_pack_and_a_component() {
        let name: ToolName = "word_count-2".parse().unwrap();
        assert_eq!(name.pack().as_str(), "tool-word_count-2");
        assert_eq!(
            name.component().as_str(),
            "tool-word_count-2:tool:word_count-2"
        );
        assert_eq!(name.to_string(), "word_count-2");
        assert_eq!(ToolName::of_pack("tool-word_count-2"), Some(name.clone()));
        assert_eq!(name.component().as_str().parse(), Ok(name));
        let longest = "x".repeat(43);
        assert!(longest.parse::<ToolName>().is_ok());
        for bad in [
            "",
            "-x",
            "_x",
            "X",
            "a b",
            "a/b",
            "..",
            "a.b",
            "ä",
            "default:tool:my_tool",
            "tool-a:tool:b",
            "a:tool:a",
            &"x".repeat(44),
        ] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad}");
        }
        for other in ["words", "tool-", "handler-x"] {
            assert_eq!(ToolName::of_pack(other), None, "{other}");
        }
    }
}
