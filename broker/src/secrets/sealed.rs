//! The sealed file: a line that names the format, the key and the state of the store, then the
//! secrets, encrypted together with that line as associated data.
//!
//! Each file has a key of its own, derived from the store's key and a random salt, and seals once with
//! it: no nonce can ever be used twice. ring does this as it does all cryptography of the broker, below
//! TLS and in the audit log, so that there is one library to trust.

use std::path::Path;

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use super::{
    codec,
    key::Key,
    store::{Contents, StoreError},
};

/// Name and version of the format.
const FORMAT: &str = "rumi secrets 1";
/// Bytes of the salt.
const SALT: usize = 32;
/// Bytes of a key's name.
const KEY_ID: usize = 8;
/// Longest first line, in bytes.
const LONGEST_LINE: usize = 256;

/// The file's bytes.
pub(super) fn seal(key: &Key, contents: &Contents) -> Option<Vec<u8>> {
    let mut salt = [0_u8; SALT];
    SystemRandom::new().fill(&mut salt).ok()?;
    let line = format!(
        "{FORMAT} key={} generation={} salt={}\n",
        key_id(key)?,
        contents.generation,
        hex(&salt)
    );
    let mut sealed = codec::encode(&contents.entries, CHACHA20_POLY1305.tag_len());
    let (own, nonce) = own_key(key, &salt)?;
    own.seal_in_place_append_tag(nonce, Aad::from(line.as_bytes()), &mut *sealed)
        .ok()?;
    let mut file = line.into_bytes();
    file.extend_from_slice(&sealed);
    Some(file)
}

/// What is in the file at `path`, whose bytes these are.
pub(super) fn open(path: &Path, key: &Key, bytes: &[u8]) -> Result<Contents, StoreError> {
    let damaged = || StoreError::Damaged {
        path: path.to_owned(),
    };
    let head = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let end = head.iter().position(|byte| *byte == b'\n');
    let (line, sealed) = end
        .and_then(|end| bytes.split_at_checked(end + 1))
        .ok_or_else(damaged)?;
    let header = std::str::from_utf8(line)
        .ok()
        .and_then(Header::parse)
        .ok_or_else(damaged)?;
    // A key's name tells the wrong key from an edited file; it is checked by the seal, too.
    if key_id(key).as_deref() != Some(header.key) {
        return Err(StoreError::OtherKey {
            path: path.to_owned(),
        });
    }
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let (own, nonce) = own_key(key, &header.salt).ok_or_else(damaged)?;
    let plain = own
        .open_in_place(nonce, Aad::from(line), sealed.as_mut_slice())
        .map_err(|_unspecified| damaged())?;
    Ok(Contents {
        generation: header.generation,
        entries: codec::decode(plain).ok_or_else(damaged)?,
    })
}

struct Header<'a> {
    key: &'a str,
    generation: u64,
    salt: [u8; SALT],
}

impl<'a> Header<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let rest = line.strip_suffix('\n')?.strip_prefix(FORMAT)?;
        let mut words = rest.strip_prefix(' ')?.split(' ');
        let key = words.next()?.strip_prefix("key=")?;
        let generation = words.next()?.strip_prefix("generation=")?;
        let salt = words.next()?.strip_prefix("salt=")?;
        if words.next().is_some() || salt.len() != 2 * SALT {
            return None;
        }
        let mut bytes = [0_u8; SALT];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(salt.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self {
            key,
            generation: generation.parse().ok()?,
            salt: bytes,
        })
    }
}

/// The key of one file, which is used once; therefore the nonce may be the same in all.
fn own_key(key: &Key, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(key.as_slice());
    let purpose = [FORMAT.as_bytes()];
    let okm = prk.expand(&purpose, &CHACHA20_POLY1305).ok()?;
    let own = LessSafeKey::new(UnboundKey::from(okm));
    Some((own, Nonce::assume_unique_for_key([0; NONCE_LEN])))
}

/// A name for the key, from which nothing about the key can be learnt.
fn key_id(key: &Key) -> Option<String> {
    struct Length;
    impl ring::hkdf::KeyType for Length {
        fn len(&self) -> usize {
            KEY_ID
        }
    }
    let prk = Salt::new(HKDF_SHA256, b"rumi secrets key id").extract(key.as_slice());
    let mut id = [0_u8; KEY_ID];
    prk.expand(&[b"id"], Length).ok()?.fill(&mut id).ok()?;
    Some(hex(&id))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
