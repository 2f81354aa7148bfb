//! Names of packs, components, handlers and environment keys.

use std::sync::Arc;

use crate::permission::Permission;
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

/// Packs that the broker makes of custom handlers; none of an admin's may be called so.
const HANDLER_PREFIX: &str = "handler-";

/// What ad-hoc code runs as: one such name a run.
const CODE_PREFIX: &str = "exec-";

impl PackId {
    /// Whether the name is kept for the pack of a handler, or for ad-hoc code.
    pub fn is_reserved(&self) -> bool {
        self.text.starts_with(HANDLER_PREFIX) || self.is_code()
    }

    /// Whether the name is that of a run of ad-hoc code.
    pub fn is_code(&self) -> bool {
        self.text.starts_with(CODE_PREFIX)
    }

    /// What the image of ad-hoc code is called among those of packs. A run is called by numbers.
    pub fn of_code_image() -> Self {
        Self {
            text: format!("{CODE_PREFIX}image").into(),
        }
    }
}

impl ComponentId {
    /// The identity of one run of ad-hoc code.
    pub fn of_code(boot: u64, number: u64) -> Self {
        Self::of_code_pack(format!("{CODE_PREFIX}{boot:x}-{number:x}"))
    }

    /// Whose user the runs of this place have, one after the other.
    pub fn of_code_place(number: u32) -> Self {
        Self::of_code_pack(format!("{CODE_PREFIX}place-{number}"))
    }

    fn of_code_pack(pack: String) -> Self {
        Self {
            pack_len: pack.len(),
            text: format!("{pack}:tool:run").into(),
            kind: Kind::Tool,
        }
    }
}

/// Name of a custom handler and of its permission: `[a-z][a-z0-9_]{0,39}`, and none of the five.
#[derive(Clone)]
pub struct HandlerName {
    text: Arc<str>,
}
text_type!(HandlerName);

impl HandlerName {
    fn parse(text: &str) -> Result<Self, SpellingError> {
        let refuse = |why: &str| Err(SpellingError::new("the name of a handler", text, why));
        let Some(first) = text.bytes().next() else {
            return refuse("it is empty");
        };
        if text.len() > 40 {
            return refuse("it is longer than 40 characters");
        }
        if !first.is_ascii_lowercase() {
            return refuse("it must begin with a lower-case letter");
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !text.bytes().all(allowed) {
            return refuse("only lower-case letters, digits and `_` are allowed");
        }
        if text.parse::<Permission>().is_ok() {
            return refuse("that is a permission of the broker's own");
        }
        Ok(Self { text: text.into() })
    }

    /// The pack that the broker makes of it.
    pub fn pack(&self) -> PackId {
        PackId {
            text: format!("{HANDLER_PREFIX}{}", self.text).into(),
        }
    }

    /// The one component of that pack, which may have grants of its own.
    pub fn component(&self) -> ComponentId {
        let pack = self.pack();
        ComponentId {
            pack_len: pack.as_str().len(),
            text: format!("{pack}:tool:execute").into(),
            kind: Kind::Tool,
        }
    }

    /// The handler that a pack was made of.
    pub fn of_pack(pack: &PackId) -> Option<Self> {
        pack.text.strip_prefix(HANDLER_PREFIX)?.parse().ok()
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
