//! Lists the programs of an image, so that allowed commands can be resolved to files.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What the engine sets when an image says nothing else.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
#[error("cannot write the list of programs")]
pub(crate) struct PrintError(#[from] io::Error);

/// One JSON line per program, in the order of PATH: the first of a name is the one that runs.
pub(crate) fn print() -> Result<(), PrintError> {
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut out = BufWriter::new(io::stdout().lock());
    for directory in env::split_paths(&path) {
        // A relative entry would mean another directory for every working directory.
        if directory.is_absolute() {
            write_directory(&mut out, &directory)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn write_directory(out: &mut impl Write, directory: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(()); // PATH often names directories that an image does not have.
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(real) = executable(&path) else {
            continue;
        };
        // A name that is not UTF-8 cannot be granted either.
        if let (Some(name), Some(path), Some(real)) = (
            path.file_name().and_then(|name| name.to_str()),
            path.to_str(),
            real.to_str(),
        ) {
            let line = serde_json::json!({"name": name, "path": path, "real": real});
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// The file behind a path, when it is one that somebody may execute.
fn executable(path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&real).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lists_executables_and_where_links_lead() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for (name, mode) in [("tool", 0o755), ("notes", 0o644)] {
            fs::write(root.join(name), "x").unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("tool", root.join("alias")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        let mut out = Vec::new();
        write_directory(&mut out, &root).unwrap();
        let lines: Vec<serde_json::Value> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let names: Vec<&str> = lines
            .iter()
            .map(|line| line["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["alias", "tool"]);
        assert_eq!(lines[0]["real"], root.join("tool").to_str().unwrap());
        assert_eq!(lines[0]["path"], root.join("alias").to_str().unwrap());
    }

    #[test]
    fn a_missing_directory_is_no_error() {
        let mut out = Vec::new();
        write_directory(&mut out, Path::new("/does/not/exist")).unwrap();
        assert!(out.is_empty());
    }
}
