//! Random ids, drawn in advance: one system call serves a hundred records.

use std::sync::Mutex;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::{Failure, Unavailable};
use crate::record::RecordId;

const DRAWN: usize = 128;

/// Source of ids.
#[derive(Debug, Default)]
pub(crate) struct Ids(Mutex<Vec<[u8; 10]>>);

impl Ids {
    pub(crate) fn next(&self) -> Result<RecordId, Unavailable> {
        let mut pool = match self.0.lock() {
            Ok(pool) => pool,
            // Nothing in a pool of random bytes can be half-done.
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(bytes) = pool.pop() {
            return Ok(RecordId::from_random(bytes));
        }
        let mut drawn = [0; DRAWN * 10];
        SystemRandom::new()
            .fill(&mut drawn)
            .map_err(|_| Unavailable::Failed(Failure::NoRandom.into()))?;
        pool.extend_from_slice(drawn.as_chunks::<10>().0);
        pool.pop()
            .map(RecordId::from_random)
            .ok_or(Unavailable::Failed(Failure::NoRandom.into()))
    }
}
