//! The five things a component may be granted.

use crate::spelling::SpellingError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    FileRead,
    FileWrite,
    EnvRead,
    Terminal,
    Network,
}

impl Permission {
    pub const ALL: [Self; 5] = [
        Self::FileRead,
        Self::FileWrite,
        Self::EnvRead,
        Self::Terminal,
        Self::Network,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::FileRead => "file_read",
            Self::FileWrite => "file_write",
            Self::EnvRead => "env_read",
            Self::Terminal => "terminal",
            Self::Network => "network",
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Permission {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| {
                SpellingError::new(
                    "a permission",
                    text,
                    "it must be file_read, file_write, env_read, terminal or network",
                )
            })
    }
}
