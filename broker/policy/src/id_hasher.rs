//! A quick hash for component ids.

use std::hash::{BuildHasherDefault, Hasher};

/// State for maps whose keys an admin chose. Who looks up may send any id, but can put none in,
/// so that nothing is gained by ids that collide, and the hash need not resist it.
pub(crate) type ById = BuildHasherDefault<IdHasher>;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher {
    state: u64,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0_u8; 8];
            word.iter_mut()
                .zip(chunk)
                .for_each(|(to, from)| *to = *from);
            let mixed = self.state.rotate_left(26) ^ u64::from_le_bytes(word);
            self.state = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn finish(&self) -> u64 {
        self.state ^ (self.state >> 29)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    #[test]
    fn ids_spread_over_buckets() {
        let ids = (0..10_000).map(|n| format!("pack-{}:tool:tool_{n}", n / 10));
        let hashes: Vec<u64> = ids
            .map(|id| {
                let mut hasher = IdHasher::default();
                id.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        let mut buckets = vec![0; 16_384];
        hashes
            .iter()
            .for_each(|hash| buckets[(hash % 16_384) as usize] += 1);
        assert!(
            buckets.iter().max().is_some_and(|most| *most < 12),
            "{:?}",
            buckets.iter().max()
        );
    }
}
