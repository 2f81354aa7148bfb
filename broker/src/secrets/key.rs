//! The key that the store is sealed with: beside the state, or from systemd's credentials.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::store::StoreError;

/// Name of the file of state, and of systemd's credential.
const NAME: &str = "rumi-secrets-key";
/// Bytes of the key.
pub(super) const LENGTH: usize = 32;

/// Where the key is, or would be.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    /// Only what is the broker's own may be made by it.
    own: bool,
}

/// The key itself.
pub(super) type Key = Zeroizing<[u8; LENGTH]>;

impl KeyFile {
    /// A credential comes first: an admin who sets one up means it.
    pub(super) fn locate(keys: &Path, credentials: Option<&Path>) -> Self {
        let credential = credentials
            .map(|directory| directory.join(NAME))
            .filter(|path| path.exists());
        match credential {
            Some(path) => Self { path, own: false },
            None => Self {
                path: keys.join(NAME),
                own: true,
            },
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The key, or nothing where there is none yet.
    pub(super) fn read(&self) -> Result<Option<Key>, StoreError> {
        let file = match open_own(&self.path) {
            Ok(file) => file,
            Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut text = Zeroizing::new([0_u8; 2 * LENGTH + 2]);
        let mut length = 0;
        let mut file = file.take(text.len() as u64);
        while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
            }
        }
        let text = text.get(..length).unwrap_or_default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        hex(text).map(Some).ok_or_else(|| StoreError::KeyUnfit {
            path: self.path.clone(),
        })
    }

    /// Makes the key where there is none.
    pub(super) fn make(&self) -> Result<Key, StoreError> {
        if !self.own {
            return Err(StoreError::KeyMissing {
                path: self.path.clone(),
            });
        }
        let write = |source| StoreError::Write {
            path: self.path.clone(),
            source,
        };
        let mut key = Key::new([0; LENGTH]);
        SystemRandom::new()
            .fill(key.as_mut_slice())
            .map_err(|_unspecified| write(io::Error::other("the kernel gives no random bytes")))?;
        let mut text = Zeroizing::new([b'\n'; 2 * LENGTH + 1]);
        for (pair, byte) in text.chunks_exact_mut(2).zip(key.iter()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        // Only ever made new: a key that is there seals something.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(write)?;
        file.write_all(text.as_slice()).map_err(write)?;
        file.sync_all().map_err(write)?;
        sync_parent(&self.path).map_err(write)?;
        Ok(key)
    }

    fn unreadable(&self, source: io::Error) -> StoreError {
        StoreError::Read {
            path: self.path.clone(),
            source,
        }
    }
}

/// Opens a regular file that is this user's and nobody else's.
pub(super) fn open_own(path: &Path) -> Result<File, StoreError> {
    let read = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        // A pipe would wait for its writer.
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(path)
        .map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err(read(io::Error::other("it is not a regular file")));
    }
    if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(StoreError::Exposed {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

/// A name is durable only when its directory is.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

fn hex(text: &[u8]) -> Option<Key> {
    let mut key = Key::new([0; LENGTH]);
    if text.len() != 2 * LENGTH {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    for (pair, byte) in text.chunks_exact(2).zip(key.iter_mut()) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok()?;
    }
    Some(key)
}
