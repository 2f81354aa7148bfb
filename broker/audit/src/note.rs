//! Checkpoints: signed notes that state the size and the root of the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::tree::Hash;

/// The type byte of Ed25519 in signed notes.
const ALGORITHM: u8 = 1;

/// What begins a signature line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Far more than a checkpoint needs.
const NOTE_LIMIT: u64 = 64 << 10;

/// The key that checkpoints are verified with, spelled `NAME+HASH+BASE64` as in `audit.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: [u8; 32],
}

/// A signed statement that the log had this size and this root. Its signature is checked by
/// [`crate::verify::verify`], which knows the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    note: String,
    signed_length: usize,
    origin: String,
    size: u64,
    root: Hash,
}

/// A key or checkpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("`{path}` is unusable: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<NoteError>,
    },
    /// The text is not what it should be.
    #[error("{what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

fn malformed(what: &'static str) -> NoteError {
    NoteError::Malformed { what }
}

fn read<T: FromStr<Err = NoteError>>(path: &Path) -> Result<T, NoteError> {
    let io = |source| NoteError::Io {
        path: path.to_path_buf(),
        source,
    };
    let size = fs::metadata(path).map_err(io)?.len();
    let text = if size <= NOTE_LIMIT {
        fs::read_to_string(path).map_err(io)?
    } else {
        String::new()
    };
    text.parse().map_err(|source| NoteError::File {
        path: path.to_path_buf(),
        source: Box::new(source),
    })
}

/// Whether a text can be the name of a log and its key.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c == '+' || c.is_whitespace() || crate::json::must_escape(c))
}

impl PublicKey {
    pub(crate) fn new(name: String, bytes: [u8; 32]) -> Self {
        Self { name, bytes }
    }

    /// Reads `audit.pub`.
    ///
    /// # Errors
    /// The file is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, NoteError> {
        read(path)
    }

    /// The name of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key itself, as it stands in `key` records.
    pub(crate) fn base64(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// The first bytes of a signature, which say by what key it was made.
    pub(crate) fn hint(&self) -> [u8; 4] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.name.as_bytes());
        context.update(&[b'\n', ALGORITHM]);
        context.update(&self.bytes);
        let hash = context.finish();
        let hint = hash.as_ref().first_chunk::<4>();
        hint.copied().unwrap_or_default()
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes)
            .verify(text.as_bytes(), signature)
            .is_ok()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut typed = vec![ALGORITHM];
        typed.extend_from_slice(&self.bytes);
        let hint = u32::from_be_bytes(self.hint());
        write!(f, "{}+{hint:08x}+{}", self.name, STANDARD.encode(typed))
    }
}

impl FromStr for PublicKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || malformed("a public key is spelled NAME+HASH+BASE64, on one line");
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(hint), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let typed = STANDARD.decode(key).map_err(|_| wrong())?;
        let Some((&ALGORITHM, bytes)) = typed.split_first() else {
            return Err(malformed("the public key is not an Ed25519 key"));
        };
        let bytes = bytes.try_into().map_err(|_| wrong())?;
        let key = Self::new(name.to_owned(), bytes);
        if !is_name(name) || format!("{:08x}", u32::from_be_bytes(key.hint())) != hint {
            return Err(malformed(
                "the hash in the public key does not fit its name and key",
            ));
        }
        Ok(key)
    }
}

impl Checkpoint {
    /// Reads a checkpoint file, or a copy of one that was kept elsewhere.
    ///
    /// # Errors
    /// The file is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, NoteError> {
        read(path)
    }

    /// Number of records it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Name of the log it speaks of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The whole signed note.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.note
    }

    pub(crate) fn root(&self) -> &Hash {
        &self.root
    }

    /// Checks that `key` signed it, and for the log of that name.
    ///
    /// # Errors
    /// It did not.
    pub fn verify(&self, key: &PublicKey) -> Result<(), NoteError> {
        if self.origin != key.name {
            return Err(malformed("the checkpoint is of a log with another name"));
        }
        let (text, rest) = self.note.split_at(self.signed_length);
        let signed = rest.lines().skip(1).any(|line| {
            signature_of(line, &key.name)
                .and_then(|bytes| {
                    let (hint, signature) = bytes.split_first_chunk::<4>()?;
                    (*hint == key.hint() && key.verifies(text, signature)).then_some(())
                })
                .is_some()
        });
        if signed {
            Ok(())
        } else {
            Err(malformed("no signature on the checkpoint is by this key"))
        }
    }
}

fn signature_of(line: &str, name: &str) -> Option<Vec<u8>> {
    let (by, spelled) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    (by == name)
        .then(|| STANDARD.decode(spelled).ok())
        .flatten()
}

/// The text that is signed.
pub(crate) fn unsigned(origin: &str, size: u64, root: &Hash) -> String {
    format!("{origin}\n{size}\n{}\n", STANDARD.encode(root))
}

/// The whole note.
pub(crate) fn signed(text: &str, key: &PublicKey, signature: &[u8]) -> String {
    let mut bytes = key.hint().to_vec();
    bytes.extend_from_slice(signature);
    let spelled = STANDARD.encode(bytes);
    format!("{text}\n{SIGNATURE_MARK}{} {spelled}\n", key.name)
}

impl FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, Self::Err> {
        let wrong = || malformed("a checkpoint is three lines, an empty one, and a signature");
        let signed_length = note.rfind("\n\n").ok_or_else(wrong)? + 1;
        let (text, signatures) = note.split_at(signed_length);
        let signed = signatures.strip_prefix('\n').ok_or_else(wrong)?;
        if !signed.ends_with('\n') || !signed.lines().all(|l| l.starts_with(SIGNATURE_MARK)) {
            return Err(wrong());
        }
        let mut lines = text.lines();
        let (Some(origin), Some(spelled), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(wrong());
        };
        let size: u64 = spelled.parse().map_err(|_| wrong())?;
        let root = STANDARD.decode(root).map_err(|_| wrong())?;
        if size.to_string() != spelled {
            return Err(wrong());
        }
        Ok(Self {
            note: note.to_owned(),
            signed_length,
            origin: origin.to_owned(),
            size,
            root: root.try_into().map_err(|_| wrong())?,
        })
    }
}
