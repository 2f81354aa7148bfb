//! How much a component may make, and how much it has made.

/// What a component has made or grown through the broker and what is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

/// The most that a component's [`Usage`] may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl Quota {
    /// For what makes nothing.
    pub(crate) const NONE: Self = Self { bytes: 0, files: 0 };

    /// Whether there is room for `growth` beside what is there.
    pub fn admits(self, usage: Usage, growth: Usage) -> bool {
        let sum = usage + growth;
        // What is over its quota already may still do what adds nothing.
        (growth.bytes == 0 || sum.bytes <= self.bytes)
            && (growth.files == 0 || sum.files <= self.files)
    }
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            files: self.files.saturating_sub(other.files),
        }
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes in {} files", self.bytes, self.files)
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes in {} files", self.bytes, self.files)
    }
}
