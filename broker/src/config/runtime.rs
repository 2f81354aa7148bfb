//! The engine's runtime that containers run under.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Longest name, in bytes.
const LONGEST: usize = 64;

/// The name of a runtime, as the engine knows it. Whether it does is asked when the broker starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime(Arc<str>);

impl Runtime {
    /// As the engine is told it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let well = begins && name.len() <= LONGEST && name.bytes().all(plain);
        well.then(|| Self(name.into()))
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Runtime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{}` is no name of a runtime; write one that `docker info` lists, such as \"runsc\", or null for the engine's own",
                name.escape_debug()
            ))
        })
    }
}
