//! SHA-256 of streams of labelled parts, for telling whether content changed.

use tokio_rustls::rustls::{
    SupportedCipherSuite,
    crypto::{hash, ring::cipher_suite::TLS13_AES_128_GCM_SHA256},
};

/// A running SHA-256. It borrows the hash of the TLS library, which the broker links anyway.
pub(super) struct Digest(Box<dyn hash::Context>);

/// The TLS library lost the suite whose hash is used here; cannot happen with a pinned version.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the linked TLS library has no SHA-256")]
pub(super) struct NoSha256;

impl Digest {
    pub(super) fn new() -> Result<Self, NoSha256> {
        match TLS13_AES_128_GCM_SHA256 {
            SupportedCipherSuite::Tls13(suite) => Ok(Self(suite.common.hash_provider.start())),
            SupportedCipherSuite::Tls12(_) => Err(NoSha256),
        }
    }

    /// Adds one part. Its length goes first, so that moving a border changes the digest.
    pub(super) fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// SHA-256 of these bytes alone, as other programs give it.
    pub(super) fn of(bytes: &[u8]) -> Result<String, NoSha256> {
        let mut digest = Self::new()?;
        digest.0.update(bytes);
        Ok(digest.hex())
    }

    /// The digest in hexadecimal.
    pub(super) fn hex(self) -> String {
        use std::fmt::Write as _;
        let output = self.0.finish();
        let mut text = String::with_capacity(64);
        for byte in output.as_ref() {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_parts_count() {
        let hex = |parts: &[&str]| {
            let mut digest = Digest::new().unwrap();
            for part in parts {
                digest.part(part.as_bytes());
            }
            digest.hex()
        };
        assert_eq!(hex(&["ab", "c"]).len(), 64);
        assert_eq!(hex(&["ab", "c"]), hex(&["ab", "c"]));
        assert_ne!(hex(&["ab", "c"]), hex(&["a", "bc"]));
        assert_eq!(
            hex(&[]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
