//! Bytes of any length that are the same each time and different everywhere.

use ring::digest::{Context, SHA256};

const PIECE: usize = 64 << 10;

/// The first `length` bytes, piece by piece.
pub(crate) fn pieces(length: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let full = PIECE as u64;
    (0..length.div_ceil(full)).map(move |index| {
        let size = usize::try_from(full.min(length - index * full)).unwrap_or(PIECE);
        piece(index, size)
    })
}

/// Each piece begins with its number and goes on with a pattern of its own, which costs little.
fn piece(index: u64, size: usize) -> Vec<u8> {
    let mut bytes = index.to_be_bytes().to_vec();
    let pattern: Vec<u8> = (0..=255_u8).map(|byte| byte ^ bytes[7]).collect();
    while bytes.len() < size {
        bytes.extend_from_slice(&pattern);
    }
    bytes.truncate(size);
    bytes
}

/// Its SHA-256, in hexadecimal.
#[must_use]
pub fn content_sha256(length: u64) -> String {
    let mut digest = Context::new(&SHA256);
    pieces(length).for_each(|piece| digest.update(&piece));
    hex(digest)
}

pub(crate) fn hex(digest: Context) -> String {
    let digest = digest.finish();
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}
