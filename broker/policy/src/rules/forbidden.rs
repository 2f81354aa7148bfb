//! Paths that no grant reaches: the scopes' `forbidden` lists and the broker's own files.
//!
//! An entry is an absolute path, or `**/` and the rest of one that is meant at any depth. A
//! segment may hold one `*`, which never crosses a `/`. What an entry names is forbidden with
//! everything below it.

use std::str::FromStr;
use std::sync::Arc;

use crate::path::AbsPath;
use crate::spelling::SpellingError;

/// One entry of a list, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForbiddenPath {
    text: Arc<str>,
    floating: bool,
}

impl FromStr for ForbiddenPath {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why: &str| SpellingError::new("a forbidden path", text, why);
        let floating = text.starts_with("**/");
        let path: AbsPath = text
            .strip_prefix("**")
            .filter(|_| floating)
            .unwrap_or(text)
            .parse()
            .map_err(|error: SpellingError| refuse(error.why()))?;
        if path.is_root() {
            return Err(refuse("it would forbid everything"));
        }
        if path
            .as_str()
            .split('/')
            .any(|segment| segment.matches('*').count() > 1)
        {
            return Err(refuse(
                "a segment may hold one `*`, and `**/` only stands first",
            ));
        }
        if path.as_str().contains(['?', '[', '{', '\\']) {
            return Err(refuse("of the wildcards only `*` is known here"));
        }
        Ok(Self {
            text: text.into(),
            floating,
        })
    }
}

impl ForbiddenPath {
    pub(crate) fn literal(path: &AbsPath) -> Self {
        Self {
            text: path.as_str().into(),
            floating: false,
        }
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        let rest = if self.floating {
            self.text.get(3..)
        } else {
            self.text.get(1..)
        };
        rest.unwrap_or_default().split('/')
    }
}

/// All entries as two tries over path segments: one walked from `/`, one from every segment.
#[derive(Debug, Default)]
pub(crate) struct Forbidden {
    anchored: Node,
    floating: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// The entry that ends here, which forbids everything below as well.
    ends: Option<Arc<str>>,
    /// A fingerprint of each literal segment. Most segments have that of none of them, and need
    /// not be searched for.
    fingerprints: ByteSet,
    /// Sorted by segment.
    literal: Vec<(Box<str>, Node)>,
    affixed: Vec<(Affix, Node)>,
}

/// A set of bytes, one bit each.
#[derive(Debug, Default)]
struct ByteSet([u128; 2]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        let [low, high] = &mut self.0;
        let half = if byte < 128 { low } else { high };
        *half |= 1 << (byte & 127);
    }

    fn contains(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        let half = if byte < 128 { low } else { high };
        half >> (byte & 127) & 1 == 1
    }
}

/// A segment with one `*`: what stands before it and behind it. The outermost bytes stand here
/// once more, because they settle most comparisons.
#[derive(Debug, PartialEq)]
struct Affix {
    first: Option<u8>,
    last: Option<u8>,
    prefix: Box<str>,
    suffix: Box<str>,
}

impl Affix {
    fn new(prefix: &str, suffix: &str) -> Self {
        Self {
            first: prefix.bytes().next(),
            last: suffix.bytes().next_back(),
            prefix: prefix.into(),
            suffix: suffix.into(),
        }
    }

    fn matches(&self, segment: &str) -> bool {
        let bytes = segment.as_bytes();
        (self.first.is_none() || self.first == bytes.first().copied())
            && (self.last.is_none() || self.last == bytes.last().copied())
            && segment.len() >= self.prefix.len() + self.suffix.len()
            && segment.starts_with(&*self.prefix)
            && segment.ends_with(&*self.suffix)
    }
}

impl Forbidden {
    /// `protected` are literal: a `*` in the name of a directory of the broker is no wildcard.
    pub(crate) fn new(entries: &[ForbiddenPath], protected: &[AbsPath]) -> Self {
        let mut forbidden = Self::default();
        for entry in entries {
            let trie = if entry.floating {
                &mut forbidden.floating
            } else {
                &mut forbidden.anchored
            };
            trie.insert(entry, true);
        }
        for path in protected.iter().filter(|path| !path.is_root()) {
            forbidden
                .anchored
                .insert(&ForbiddenPath::literal(path), false);
        }
        forbidden
    }

    /// The entry that forbids this path or a directory above it.
    pub(crate) fn covers(&self, path: &AbsPath) -> Option<&str> {
        let mut rest = path.as_str().get(1..).unwrap_or_default();
        if let Some(entry) = self.anchored.covers(rest) {
            return Some(entry);
        }
        while !rest.is_empty() {
            let (segment, after) = next_segment(rest);
            let mut children = self.floating.children(segment);
            if let Some(entry) = children.find_map(|child| child.covers(after)) {
                return Some(entry);
            }
            rest = after;
        }
        None
    }

    /// An entry that is this path, is above it, or could lie below it. To move or to hand over a
    /// whole directory is to move or hand over what is in it. An entry at any depth counts only
    /// once its first segment is in the path: it could lie below everything, and where it
    /// moves along unbroken it stays forbidden.
    pub(crate) fn touches(&self, path: &AbsPath) -> Option<&str> {
        if let Some(entry) = self.covers(path) {
            return Some(entry);
        }
        let mut rest = path.as_str().get(1..).unwrap_or_default();
        if let Some(entry) = self.anchored.below(rest) {
            return Some(entry);
        }
        while !rest.is_empty() {
            if let Some(entry) = self.floating.below(rest) {
                return Some(entry);
            }
            rest = next_segment(rest).1;
        }
        None
    }
}

impl Node {
    fn insert(&mut self, entry: &ForbiddenPath, wildcards: bool) {
        let mut node = self;
        for segment in entry.segments() {
            node = match segment.split_once('*').filter(|_| wildcards) {
                Some((prefix, suffix)) => node.affixed_child(prefix, suffix),
                None => node.literal_child(segment),
            };
        }
        node.ends.get_or_insert_with(|| entry.text.clone());
    }

    fn literal_child(&mut self, segment: &str) -> &mut Self {
        self.fingerprints.insert(fingerprint(segment));
        let at = match self
            .literal
            .binary_search_by(|(name, _)| (**name).cmp(segment))
        {
            Ok(at) => at,
            Err(at) => {
                self.literal.insert(at, (segment.into(), Self::default()));
                at
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the entry was found or made at this index"
        )]
        &mut self.literal[at].1
    }

    fn affixed_child(&mut self, prefix: &str, suffix: &str) -> &mut Self {
        let affix = Affix::new(prefix, suffix);
        let at = self
            .affixed
            .iter()
            .position(|(other, _)| *other == affix)
            .unwrap_or_else(|| {
                self.affixed.push((affix, Self::default()));
                self.affixed.len() - 1
            });
        #[expect(
            clippy::indexing_slicing,
            reason = "the entry was found or made at this index"
        )]
        &mut self.affixed[at].1
    }

    fn children(&self, segment: &str) -> impl Iterator<Item = &Self> {
        let literal = self
            .fingerprints
            .contains(fingerprint(segment))
            .then(|| {
                self.literal
                    .binary_search_by(|(name, _)| (**name).cmp(segment))
                    .ok()
            })
            .flatten()
            .and_then(|at| self.literal.get(at));
        let affixed = self
            .affixed
            .iter()
            .filter(|(affix, _)| affix.matches(segment));
        literal
            .map(|(_, node)| node)
            .into_iter()
            .chain(affixed.map(|(_, node)| node))
    }

    fn covers(&self, rest: &str) -> Option<&str> {
        if let Some(entry) = &self.ends {
            return Some(entry);
        }
        if rest.is_empty() || (self.literal.is_empty() && self.affixed.is_empty()) {
            return None;
        }
        let (segment, rest) = next_segment(rest);
        self.children(segment).find_map(|child| child.covers(rest))
    }

    /// An entry that begins with the whole of `rest` and goes on.
    fn below(&self, rest: &str) -> Option<&str> {
        if rest.is_empty() {
            return self.any_entry();
        }
        let (segment, rest) = next_segment(rest);
        self.children(segment).find_map(|child| child.below(rest))
    }

    fn any_entry(&self) -> Option<&str> {
        let literal = self.literal.iter().map(|(_, node)| node);
        let mut nodes = literal.chain(self.affixed.iter().map(|(_, node)| node));
        self.ends
            .as_deref()
            .or_else(|| nodes.find_map(Self::any_entry))
    }
}

/// One byte made of both ends of a segment and its length.
fn fingerprint(segment: &str) -> u8 {
    let bytes = segment.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return 0;
    };
    let [length, ..] = bytes.len().to_le_bytes();
    first.wrapping_mul(31) ^ last.wrapping_mul(7) ^ length
}

/// The first segment and what follows it. A plain loop beats a search built for long texts.
fn next_segment(rest: &str) -> (&str, &str) {
    let end = rest
        .bytes()
        .position(|byte| byte == b'/')
        .unwrap_or(rest.len());
    (
        rest.get(..end).unwrap_or_default(),
        rest.get(end + 1..).unwrap_or_default(),
    )
}
