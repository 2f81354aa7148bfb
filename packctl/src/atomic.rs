//! Replaces a file so that every reader sees the old content or the new, never
//! a part, and a crash leaves one of the two.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::{Gid, Uid};

use crate::failure::Failure;

/// Mode of a file that did not exist before; grants are no secrets.
const NEW_FILE_MODE: u32 = 0o644;

/// Writes beside the file, makes it durable, renames it over.
///
/// # Errors
/// When a step fails; then the old file is untouched and nothing is left behind.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // An admin may have linked the file elsewhere; the link stays a link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    write(path, bytes).map_err(Failure::files("write", path))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The leading dot keeps readers of the directory from taking it for a grant.
    let mut temporary = tempfile::Builder::new()
        .prefix(".packctl-")
        .suffix(".tmp")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    let file = temporary.as_file();
    match fs::metadata(path) {
        Ok(before) => {
            file.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                rustix::fs::fchown(
                    file,
                    Some(Uid::from_raw(before.uid())),
                    Some(Gid::from_raw(before.gid())),
                )?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.set_permissions(Permissions::from_mode(NEW_FILE_MODE))?;
        }
        Err(error) => return Err(error),
    }
    file.sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The rename itself is durable only when the directory is.
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_keeps_the_mode_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grant.json");
        replace(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real.json");
        let link = directory.path().join("link.json");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let failure = replace(Path::new("/nonexistent/x.json"), b"").unwrap_err();
        assert!(failure.to_string().contains("`/nonexistent/x.json`"));
    }
}
