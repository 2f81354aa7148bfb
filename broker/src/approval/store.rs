//! Approvals on disk: one file a pack, in a directory that only root may enter.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rumi_policy::PackId;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Approval;

/// Largest file. A pack has at most 10,000 files, whose paths may be long.
const MAX_FILE: u64 = 64 << 20;
/// The form that is written; another one is not read.
const VERSION: u32 = 1;

/// The approvals of all packs.
#[derive(Debug)]
pub struct Approvals {
    directory: PathBuf,
}

/// What a pack was when it was started: its files may be others by now.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Hash of all that its image was made from.
    pub content: String,
    /// pack.json, as it was approved.
    pub manifest: String,
}

/// Why it is not known what was approved, or an approval was not kept. Nothing is started then.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The file system refused.
    #[error(
        "cannot read `{path}`: {source}; remedy: approve the pack anew: packctl approve {pack}"
    )]
    Read {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// Others may write the file, and so it says nothing.
    #[error(
        "`{path}` may be read or written by others than root; remedy: look at who did that, then approve the pack anew: packctl approve {pack}"
    )]
    Exposed {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
    },
    /// The file is not what was written.
    #[error("`{path}` is damaged: {source}; remedy: approve the pack anew: packctl approve {pack}")]
    Damaged {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file is another pack's, or of another version.
    #[error(
        "`{path}` is not the approval of `{pack}` in the form that this broker writes; remedy: approve the pack anew: packctl approve {pack}"
    )]
    Other {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(
        "cannot remove `{path}`: {source}; remedy: remove it by hand; until then `{pack}` is approved"
    )]
    Remove {
        /// The pack.
        pack: PackId,
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
    /// The file system refused.
    #[error(
        "cannot write `{path}`: {source}; remedy: make room on the disk of the state directory"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// From the file system.
        source: io::Error,
    },
}

/// What stands in a file: the name inside must be the name outside.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<T> {
    version: u32,
    pack: String,
    kept: T,
}

impl Approvals {
    /// Those in a directory, which must exist.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The approval that counts: the one given last.
    ///
    /// # Errors
    /// When it cannot be read or is not to be believed.
    pub fn of(&self, pack: &PackId) -> Result<Option<Approval>, ApprovalError> {
        self.read(pack, self.approved(pack))
    }

    /// Keeps an approval in the place of the one before. A crash leaves one of the two.
    ///
    /// # Errors
    /// When the file system refuses; then the one before still counts.
    pub fn keep(&self, pack: &PackId, approval: &Approval) -> Result<(), ApprovalError> {
        Self::write(pack, self.approved(pack), approval, Lasts::PowerLoss)
    }

    /// Removes the approval that counts, so that none does.
    ///
    /// # Errors
    /// When the file system refuses; then it still counts.
    pub fn remove(&self, pack: &PackId) -> Result<(), ApprovalError> {
        let path = self.approved(pack);
        let removed = fs::remove_file(&path).and_then(|()| {
            // A name is gone for good only when its directory says so.
            File::open(&self.directory)?.sync_all()
        });
        removed.map_err(|source| ApprovalError::Remove {
            pack: pack.clone(),
            path,
            source,
        })
    }

    /// What the container that was started last was made from.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn started(&self, pack: &PackId) -> Result<Option<Started>, ApprovalError> {
        self.read(pack, self.running(pack))
    }

    /// Keeps what a container is about to be made from.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_started(&self, pack: &PackId, started: &Started) -> Result<(), ApprovalError> {
        Self::write(
            pack,
            self.running(pack),
            started,
            Lasts::AsLongAsTheContainer,
        )
    }

    // A pack's name has no dot, so that no two of these meet.
    fn approved(&self, pack: &PackId) -> PathBuf {
        self.directory.join(format!("{pack}.json"))
    }

    fn running(&self, pack: &PackId) -> PathBuf {
        self.directory.join(format!("{pack}.started.json"))
    }

    fn read<T: DeserializeOwned>(
        &self,
        pack: &PackId,
        path: PathBuf,
    ) -> Result<Option<T>, ApprovalError> {
        let failed = |path: &Path, source| ApprovalError::Read {
            pack: pack.clone(),
            path: path.to_owned(),
            source,
        };
        let bytes = match own_bytes(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                return Err(ApprovalError::Exposed {
                    pack: pack.clone(),
                    path,
                });
            }
            // Not there is one thing; a directory of approvals that is not there is another.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.directory.is_dir() => {
                return Ok(None);
            }
            Err(source) => return Err(failed(&path, source)),
        };
        let kept: Kept<T> =
            serde_json::from_slice(&bytes).map_err(|source| ApprovalError::Damaged {
                pack: pack.clone(),
                path: path.clone(),
                source,
            })?;
        if kept.version != VERSION || kept.pack != pack.as_str() {
            return Err(ApprovalError::Other {
                pack: pack.clone(),
                path,
            });
        }
        Ok(Some(kept.kept))
    }

    fn write<T: Serialize>(
        pack: &PackId,
        path: PathBuf,
        value: &T,
        lasts: Lasts,
    ) -> Result<(), ApprovalError> {
        let kept = Kept {
            version: VERSION,
            pack: pack.to_string(),
            kept: value,
        };
        let written = serde_json::to_vec(&kept)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&path, &bytes, lasts));
        written.map_err(|source| ApprovalError::Write { path, source })
    }
}

/// The bytes of a regular file of root's alone; nothing where others may touch it.
fn own_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // A pipe would wait for its writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(io::Error::other("it is no regular file of a sensible size"));
    }
    if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// What a file must outlive; waiting for the disk takes milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    PowerLoss,
    /// Which no container survives either.
    AsLongAsTheContainer,
}

fn replace(path: &Path, bytes: &[u8], lasts: Lasts) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // tempfile makes it for this user alone.
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    if lasts == Lasts::PowerLoss {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    if lasts == Lasts::PowerLoss {
        // A name is durable only when its directory is.
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{super::Facts, *};

    fn approval() -> Approval {
        Approval {
            digest: "d".repeat(64),
            unix: 1,
            uid: 0,
            unseen: false,
            facts: Facts::default(),
        }
    }

    #[test]
    fn an_approval_is_read_back_and_is_roots_alone() {
        let directory = tempfile::tempdir().unwrap();
        let approvals = Approvals::new(directory.path().to_owned());
        let pack: PackId = "demo".parse().unwrap();
        assert_eq!(approvals.of(&pack).unwrap(), None);
        approvals.keep(&pack, &approval()).unwrap();
        assert_eq!(approvals.of(&pack).unwrap(), Some(approval()));
        let mode = fs::metadata(directory.path().join("demo.json")).unwrap();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_approval_that_is_removed_is_none_and_another_packs_stays() {
        let directory = tempfile::tempdir().unwrap();
        let approvals = Approvals::new(directory.path().to_owned());
        let (pack, other): (PackId, PackId) = ("demo".parse().unwrap(), "other".parse().unwrap());
        for pack in [&pack, &other] {
            approvals.keep(pack, &approval()).unwrap();
        }
        approvals.remove(&pack).unwrap();
        assert_eq!(approvals.of(&pack).unwrap(), None);
        assert_eq!(approvals.of(&other).unwrap(), Some(approval()));
        let error = approvals.remove(&pack).unwrap_err();
        assert!(matches!(error, ApprovalError::Remove { .. }), "{error}");
    }

    #[test]
    fn what_cannot_be_believed_is_no_approval_and_not_none_either() {
        let directory = tempfile::tempdir().unwrap();
        let approvals = Approvals::new(directory.path().to_owned());
        let (pack, other): (PackId, PackId) = ("demo".parse().unwrap(), "other".parse().unwrap());
        let file = directory.path().join("demo.json");
        let fresh = || approvals.keep(&pack, &approval()).unwrap();
        fresh();
        let good = fs::read(&file).unwrap();
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..cut]).unwrap();
            let error = approvals.of(&pack).unwrap_err();
            assert!(matches!(error, ApprovalError::Damaged { .. }), "{error}");
        }
        fresh();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
        let error = approvals.of(&pack).unwrap_err();
        assert!(matches!(error, ApprovalError::Exposed { .. }), "{error}");
        fresh();
        fs::rename(&file, directory.path().join("other.json")).unwrap();
        let error = approvals.of(&other).unwrap_err();
        assert!(matches!(error, ApprovalError::Other { .. }), "{error}");
        std::os::unix::fs::symlink("other.json", &file).unwrap();
        let error = approvals.of(&pack).unwrap_err();
        assert!(matches!(error, ApprovalError::Read { .. }), "{error}");
        assert!(
            error.to_string().contains("packctl approve demo"),
            "{error}"
        );
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(approvals.of(&pack).is_err());
        fs::remove_dir_all(directory.path()).unwrap();
        assert!(approvals.of(&pack).is_err());
    }
}
