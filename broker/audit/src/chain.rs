//! What ties each record to all records before it.

use serde_json::{Value, json};

use crate::json::{hex, push_detail, unhex};
use crate::line::{Field, Phase};
use crate::note::PublicKey;
use crate::parse::Line;
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
            prev: unhex(line.prev.as_bytes())?,
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
        let Some((mark, bytes)) = marked.split_first_mut() else {
            return Err("an empty line".to_owned());
        };
        *mark = 0;
        let line = Line::parse(bytes).map_err(|error| error.to_string())?;
        if line.seq != self.size() {
            return Err(format!(
                "it says it is record {}, where record {} must stand",
                line.seq,
                self.size()
            ));
        }
        if line.prev.as_bytes() != hex(&self.prev) {
            return Err("`prev` is not the hash of the record before it".to_owned());
        }
        self.check_place(&line, place)?;
        self.push(leaf(marked));
        Ok(())
    }

    fn check_place(&self, line: &Line<'_>, place: Place<'_>) -> Result<(), String> {
        match (place, line.phase) {
            (Place::First(key, number), Phase::Key) => {
                let mut expected = Vec::new();
                push_detail(&mut expected, &self.introduction(key, number), usize::MAX);
                if line.raw(Field::Detail).as_bytes() == expected {
                    Ok(())
                } else {
                    Err("the segment's first record states another key, number or tree".to_owned())
                }
            }
            (Place::First(..), _) => Err("the segment's first record is no `key` record".to_owned()),
            (Place::Within, Phase::Key) => Err("a `key` record amid a segment".to_owned()),
            (Place::Within, _) => Ok(()),
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
