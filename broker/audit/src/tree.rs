//! The Merkle tree of RFC 6962 over all records, kept by its right edge alone.

use ring::digest::{SHA256, digest};

/// A SHA-256 hash.
pub(crate) type Hash = [u8; 32];

/// What `prev` says in the first record of a log.
pub(crate) const NO_HASH: Hash = [0; 32];

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap_or(NO_HASH)
}

/// Hash of a record; `marked` is the line, without its newline, behind one byte 0x00.
pub(crate) fn leaf(marked: &[u8]) -> Hash {
    sha256(marked)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    let [_, halves @ ..] = &mut bytes;
    let (first, second) = halves.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&bytes)
}

/// Roots of the complete subtrees, from the largest to the smallest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

impl Tree {
    /// A tree of which only size and edge are known; nothing where they do not fit each other.
    pub(crate) fn from_edge(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// Adds a leaf: as many hashes as the size has trailing ones, two in the mean.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                hash = node(&left, &hash);
            }
        }
        self.edge.push(hash);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        match edge.next() {
            None => sha256(&[]),
            Some(last) => edge.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, section 2.1, written down as it stands there.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                node(
                    &by_definition(&many[..split]),
                    &by_definition(&many[split..]),
                )
            }
        }
    }

    #[test]
    fn the_edge_gives_the_root_of_the_definition() {
        let leaves: Vec<Hash> = (0..130_u8).map(|i| leaf(&[0, i])).collect();
        let mut tree = Tree::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), by_definition(&leaves[..size]), "size {size}");
            let again = Tree::from_edge(tree.size(), tree.edge().to_vec());
            assert_eq!(again.as_ref(), Some(&tree));
            tree.push(leaves[size]);
        }
        assert_eq!(Tree::from_edge(3, vec![NO_HASH]), None);
    }

    #[test]
    fn known_roots_of_other_implementations() {
        let hex = |hash: Hash| String::from_utf8(crate::json::hex(&hash).to_vec()).unwrap();
        assert_eq!(
            hex(Tree::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut tree = Tree::default();
        tree.push(leaf(&[0]));
        assert_eq!(
            hex(tree.root()),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }
}
