//! Reads grants and scopes from their directories, as the broker does.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use rumi_policy::{AbsPath, ComponentId, MAX_FILE_BYTES, PolicySet, PolicySource, SourceFile};

use crate::{context::Context, failure::Failure};

/// All policy files of a home directory.
///
/// # Errors
/// When a directory or a file cannot be read.
pub(crate) fn source(context: &Context) -> Result<PolicySource, Failure> {
    Ok(PolicySource {
        grants: directory(&context.grants()?)?,
        scopes: directory(&context.scopes()?)?,
        protected: protected(context)?,
    })
}

/// The policy the broker would have in force now.
///
/// # Errors
/// When a directory or a file cannot be read; files that are wrong are problems
/// of the set instead.
pub(crate) fn load(context: &Context) -> Result<PolicySet, Failure> {
    source(context).map(PolicySet::compile)
}

/// The broker's own places, which no grant opens.
fn protected(context: &Context) -> Result<Vec<AbsPath>, Failure> {
    let home = context.home()?;
    let places = [
        context.state().to_owned(),
        context.run().to_owned(),
        home.join("grants"),
        home.join("scopes"),
        home.join("docker"),
    ];
    Ok(places
        .iter()
        .filter_map(|path| path.to_str()?.parse().ok())
        .collect())
}

/// Where the grant of a component is, or would be.
///
/// # Errors
/// When the home directory is none.
pub(crate) fn grant_path(context: &Context, component: &ComponentId) -> Result<PathBuf, Failure> {
    Ok(context.grants()?.join(component.grant_file()))
}

/// The bytes of a file, or nothing where there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn read_existing(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match bounded(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::files("read", path)(error)),
    }
}

/// The policy files of one directory.
///
/// # Errors
/// When it or a file in it cannot be read.
pub(crate) fn directory(path: &Path) -> Result<Vec<SourceFile>, Failure> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::files("read", path)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Failure::files("read", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") || name.starts_with('.') {
            continue;
        }
        let at = entry.path();
        // A grant may be removed while the directory is read.
        if let Some(bytes) = read_existing(&at)? {
            files.push(SourceFile { name, bytes });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough for the policy to refuse the file.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
