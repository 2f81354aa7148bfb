//! What a component may be granted: one of the five things, or a custom handler.

use crate::ids::HandlerName;
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

/// A permission as grants and commands name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PermissionName {
    BuiltIn(Permission),
    Custom(HandlerName),
}

impl PermissionName {
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(permission) => permission.as_str(),
            Self::Custom(name) => name.as_str(),
        }
    }
}

/// As text for records, without a copy where there is nothing to copy.
impl From<PermissionName> for std::borrow::Cow<'static, str> {
    fn from(name: PermissionName) -> Self {
        match name {
            PermissionName::BuiltIn(permission) => permission.as_str().into(),
            PermissionName::Custom(name) => name.as_str().to_owned().into(),
        }
    }
}

impl From<Permission> for PermissionName {
    fn from(permission: Permission) -> Self {
        Self::BuiltIn(permission)
    }
}

impl std::fmt::Display for PermissionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PermissionName {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(permission) = text.parse() {
            return Ok(Self::BuiltIn(permission));
        }
        text.parse().map(Self::Custom).map_err(|_| {
            SpellingError::new(
                "a permission",
                text,
                "it must be file_read, file_write, env_read, terminal, network, or the name of a \
                 handler: a lower-case letter, then up to 39 of those, digits and `_`",
            )
        })
    }
}
