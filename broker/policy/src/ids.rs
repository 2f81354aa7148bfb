//! Names of packs, components and environment keys.

use std::sync::Arc;

use crate::spelling::{SpellingError, text_type};

/// Name of a pack: `[a-z0-9][a-z0-9_-]{0,47}`.
#[derive(Clone)]
pub struct PackId {
    text: Arc<str>,
}
text_type!(PackId);

impl PackId {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        check_name("a pack id", text, text, 48)?;
        Ok(Self { text: text.into() })
    }
}

/// What a component is: called and answering, or running for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Tool,
    Service,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Service => "service",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name of a component, `pack:kind:name`.
///
/// Only lower-case letters, digits, `_` and `-` occur in its parts, so that two different ids
/// never become one file name, on whatever file system.
#[derive(Clone)]
pub struct ComponentId {
    text: Arc<str>,
    pack_len: usize,
    kind: Kind,
}
text_type!(ComponentId);

impl ComponentId {
    const WHAT: &'static str = "a component id";

    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| SpellingError::new(Self::WHAT, text, why);
        let mut parts = text.splitn(4, ':');
        let (Some(pack), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("it must be `pack:kind:name`"));
        };
        check_name(Self::WHAT, text, pack, 48)?;
        check_name(Self::WHAT, text, name, 64)?;
        let kind = match kind {
            "tool" => Kind::Tool,
            "service" => Kind::Service,
            _ => return Err(refuse("its kind must be `tool` or `service`")),
        };
        Ok(Self {
            text: text.into(),
            pack_len: pack.len(),
            kind,
        })
    }

    pub fn pack(&self) -> PackId {
        PackId {
            text: self.pack_str().into(),
        }
    }

    pub fn pack_str(&self) -> &str {
        self.text.get(..self.pack_len).unwrap_or_default()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn name(&self) -> &str {
        self.text.rsplit(':').next().unwrap_or_default()
    }

    /// Name of the file that holds this component's grant.
    pub fn grant_file(&self) -> String {
        format!("{}.json", self.text)
    }

    /// Name of a directory of this component that stands in a `PATH`, where a colon would end it.
    /// No id has a dot, and so no two have the same name here.
    pub fn name_in_path(&self) -> String {
        self.text.replace(':', ".")
    }
}

fn check_name(
    what: &'static str,
    whole: &str,
    part: &str,
    longest: usize,
) -> Result<(), SpellingError> {
    let refuse = |why: String| Err(SpellingError::new(what, whole, why));
    let Some(first) = part.bytes().next() else {
        return refuse("a part of it is empty".to_owned());
    };
    if part.len() > longest {
        return refuse(format!("a part of it is longer than {longest} characters"));
    }
    if !(first.is_ascii_lowercase() || first.is_ascii_digit()) {
        return refuse("each part must begin with a lower-case letter or a digit".to_owned());
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !part.bytes().all(allowed) {
        return refuse("only lower-case letters, digits, `_` and `-` are allowed".to_owned());
    }
    Ok(())
}

/// Name of an environment variable: `[A-Za-z_][A-Za-z0-9_]{0,254}`.
#[derive(Clone)]
pub struct EnvKey {
    text: Arc<str>,
}
text_type!(EnvKey);

impl EnvKey {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| Err(SpellingError::new("an environment key", text, why));
        let Some(first) = text.bytes().next() else {
            return refuse("it is empty");
        };
        if text.len() > 255 {
            return refuse("it is longer than 255 characters");
        }
        if first.is_ascii_digit() {
            return refuse("it begins with a digit");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return refuse("only letters, digits and `_` are allowed");
        }
        Ok(Self { text: text.into() })
    }
}
