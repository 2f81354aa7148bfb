//! The error of every parser of a single piece of text, and the plumbing all text types share.

/// Text that is not what it should be. It is refused as it stands: nothing is trimmed,
/// decoded or lower-cased, because what was repaired is no longer what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {what}: {why}", excerpt(.input))]
pub struct SpellingError {
    what: &'static str,
    input: String,
    why: String,
}

impl SpellingError {
    pub(crate) fn new(what: &'static str, input: &str, why: impl Into<String>) -> Self {
        Self {
            what,
            input: input.to_owned(),
            why: why.into(),
        }
    }

    /// What is wrong with the text, without the text itself.
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// Text from a pack or a file, made safe to show: escaped, and cut when it is long.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 120;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Gives a newtype around `Arc<str>` with a `check(&str) -> Result<(), SpellingError>` everything
/// that text types have in common, so that no type can be made without its check.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }
        impl std::str::FromStr for $name {
            type Err = crate::spelling::SpellingError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.text)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.text)
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.text.cmp(&other.text)
            }
        }
        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(
                    deserializer,
                )?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_type;
