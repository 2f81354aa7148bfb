//! Notices a key that occurs twice.

use std::collections::HashSet;

/// Keys seen in one object. Few in the usual case, where comparing beats hashing.
#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    first: [&'a [u8]; 8],
    used: usize,
    more: HashSet<&'a [u8]>,
}

impl<'a> Keys<'a> {
    /// Notes a key; false where it was there.
    pub(crate) fn insert(&mut self, key: &'a [u8]) -> bool {
        if self.first.iter().take(self.used).any(|seen| *seen == key) {
            return false;
        }
        match self.first.get_mut(self.used) {
            Some(slot) => {
                *slot = key;
                self.used += 1;
                true
            }
            None => self.more.insert(key),
        }
    }
}
