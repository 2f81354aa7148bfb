//! The signing key, and what is derived from it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::error::OpenError;
use crate::json::push_hex;
use crate::note::{self, PublicKey};
use crate::tree::Hash;

/// Separates the fingerprints of secrets from any other use of the key.
const FINGERPRINT_LABEL: &[u8] = b"rumi audit fingerprint v1";

/// Signs checkpoints and fingerprints secrets.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
    fingerprints: hmac::Key,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl SigningKey {
    /// Reads the key, or makes one where `may_create` and none is there.
    pub(crate) fn load(path: &Path, origin: &str, may_create: bool) -> Result<Self, OpenError> {
        let key_error = |what: String| OpenError::Key {
            path: path.to_path_buf(),
            what,
        };
        let document = match fs::read(path) {
            Ok(document) => {
                let mode = fs::metadata(path)
                    .map_err(OpenError::io("examine", path))?
                    .permissions()
                    .mode();
                if mode & 0o077 != 0 {
                    let what = format!("others may read it; run `chmod 600 {}`", path.display());
                    return Err(key_error(what));
                }
                document
            }
            Err(error) if error.kind() == ErrorKind::NotFound && may_create => create(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(key_error(
                    "it is missing, but the log that it signs is there; restore it from a backup"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(OpenError::io("read", path)(error)),
        };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map_err(|error| {
            key_error(format!(
                "it is no Ed25519 key in PKCS#8 ({error}); restore it from a backup"
            ))
        })?;
        let bytes = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| key_error("its public half has a wrong length".to_owned()))?;
        let root = hmac::Key::new(hmac::HMAC_SHA256, &document);
        let derived = hmac::sign(&root, FINGERPRINT_LABEL);
        Ok(Self {
            pair,
            public: PublicKey::new(origin.to_owned(), bytes),
            fingerprints: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        })
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the checkpoint of a log with this size and root.
    pub(crate) fn checkpoint(&self, size: u64, root: &Hash) -> String {
        let text = note::unsigned(self.public.name(), size, root);
        let signature = self.pair.sign(text.as_bytes());
        note::signed(&text, &self.public, signature.as_ref())
    }

    pub(crate) fn fingerprint(&self, secret: &[u8]) -> String {
        let tag = hmac::sign(&self.fingerprints, secret);
        let mut spelled = b"hmac:".to_vec();
        push_hex(&mut spelled, tag.as_ref().get(..16).unwrap_or_default());
        String::from_utf8(spelled).unwrap_or_default()
    }
}

/// Where the public half of the key is kept.
pub(crate) fn public_path(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

fn create(path: &Path) -> Result<Vec<u8>, OpenError> {
    let document =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| OpenError::Key {
            path: path.to_path_buf(),
            what: "the system gave no random bytes to make it from".to_owned(),
        })?;
    if let Some(dir) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(OpenError::io("create", dir))?;
    }
    replace(path, document.as_ref(), 0o600).map_err(OpenError::io("write", path))?;
    Ok(document.as_ref().to_vec())
}

/// Replaces a file so that after a crash it holds either the old bytes or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}
