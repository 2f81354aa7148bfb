//! What ties each record to all records before it.

use serde_json::{Value, json};

use crate::json::{hex, push_detail, unhex};
use crate::line::{Field, Phase};
use crate::note::PublicKey;
use crate::parse::{Line, Malformed};
use crate::tree::{Hash, NO_HASH, Tree, leaf};

/// The end of the log so far: the hash of its last record, and the tree over all.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    prev: Hash,
    tree: Tree,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            prev: NO_HASH,
            tree: Tree::default(),
        }
    }
}

/// What a segment's first record is told when it is another one.
pub(crate) const NO_KEY_RECORD: &str = "the segment's first record is no `key` record";

/// What of a record ties it to the others. Reading it needs nothing but the record, so that records can be read
/// side by side.
#[derive(Debug)]
pub(crate) struct Link {
    seq: u64,
    prev: Hash,
    leaf: Hash,
    introduction: Option<Box<[u8]>>,
}

impl Link {
    /// Reads a line behind one byte, which becomes the mark 0x00 that the hash begins with.
    pub(crate) fn read(marked: &mut [u8]) -> Result<Self, Malformed> {
        let bytes = match marked.split_first_mut() {
            Some((mark, bytes)) => {
                *mark = 0;
                &*bytes
            }
            None => &[],
        };
        let line = Line::parse(bytes)?;
        let (seq, prev) = (line.seq, unhex(line.prev));
        let introduction = (line.phase == Phase::Key).then(|| line.raw(Field::Detail).into());
        Ok(Self {
            seq,
            prev: prev.unwrap_or(NO_HASH),
            leaf: leaf(marked),
            introduction,
        })
    }
}

/// What a record must be besides being the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// The first of the segment with this number: the record that introduces key and tree.
    First(&'a PublicKey, u64),
    /// Any other.
    Within,
}

impl Chain {
    /// Takes up the chain at the first record of a segment, as that record states it. It must be held against a
    /// signed root afterwards.
    pub(crate) fn stated_by(line: &Line<'_>, detail: &Value) -> Option<Self> {
        let edge = detail.get("tree")?.as_array()?;
        let edge: Option<Vec<Hash>> = edge
            .iter()
            .map(|hash| unhex(hash.as_str()?.as_bytes()))
            .collect();
        Some(Self {
            prev: unhex(line.prev)?,
            tree: Tree::from_edge(line.seq, edge?)?,
        })
    }

    /// Number of records, and sequence number of the next one.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(crate) fn prev(&self) -> &Hash {
        &self.prev
    }

    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Adds a record that was just composed.
    pub(crate) fn push(&mut self, leaf: Hash) {
        self.prev = leaf;
        self.tree.push(leaf);
    }

    /// Adds a record that was read, if it is the one that must come here.
    pub(crate) fn check(&mut self, marked: &mut [u8], place: Place<'_>) -> Result<(), String> {
        let link = Link::read(marked).map_err(|error| error.to_string())?;
        self.accept(&link, place)
    }

    /// Adds a record by what ties it.
    pub(crate) fn accept(&mut self, link: &Link, place: Place<'_>) -> Result<(), String> {
        if link.seq != self.size() {
            return Err(format!(
                "it says it is record {}, where record {} must stand",
                link.seq,
                self.size()
            ));
        }
        if link.prev != self.prev {
            // The hash says that the two do not fit, not which of them is the changed one.
            return Err(match self.size().checked_sub(1) {
                Some(before) => format!(
                    "`prev` is not the hash of record {before}; one of the two was changed, or something between them was put in or taken out"
                ),
                None => "`prev` of the first record is not all zeros".to_owned(),
            });
        }
        self.check_place(link, place)?;
        self.push(link.leaf);
        Ok(())
    }

    fn check_place(&self, link: &Link, place: Place<'_>) -> Result<(), String> {
        match (place, &link.introduction) {
            (Place::First(key, number), Some(introduction)) => {
                let mut expected = Vec::new();
                push_detail(&mut expected, &self.introduction(key, number), usize::MAX);
                if **introduction == *expected {
                    Ok(())
                } else {
                    Err("the segment's first record states another key, number or tree".to_owned())
                }
            }
            (Place::First(..), None) => Err(NO_KEY_RECORD.to_owned()),
            (Place::Within, Some(_)) => Err("a `key` record amid a segment".to_owned()),
            (Place::Within, None) => Ok(()),
        }
    }

    /// The detail of a segment's first record.
    pub(crate) fn introduction(&self, key: &PublicKey, number: u64) -> Value {
        let spelled = |hash| String::from_utf8_lossy(&hex(hash)).into_owned();
        let tree: Vec<String> = self.tree.edge().iter().map(spelled).collect();
        json!({
            "origin": key.name(),
            "public_key": key.base64(),
            "segment": number,
            "tree": tree,
        })
    }
}
