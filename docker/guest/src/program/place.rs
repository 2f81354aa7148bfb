//! Where a command works: the directory of this process, as the host knows it.

use std::{io, path::Path};

/// Where granted directories appear in a container, under their own paths.
const FILES: &str = "/files";

#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("the working directory cannot be read")]
    Unknown(#[from] io::Error),
    #[error("the working directory is `/files` itself; go to a granted directory below it")]
    AllFiles,
    #[error(
        "the working directory `{0}` is not valid UTF-8, and directories are asked for as text"
    )]
    NotText(String),
}

/// The host's path; empty where the broker is to take the only one that is granted.
pub(super) fn directory() -> Result<String, PlaceError> {
    on_host(&std::env::current_dir()?)
}

fn on_host(path: &Path) -> Result<String, PlaceError> {
    let Ok(below) = path.strip_prefix(FILES) else {
        return Ok(String::new());
    };
    match below.to_str() {
        Some("") => Err(PlaceError::AllFiles),
        Some(below) => Ok(format!("/{below}")),
        None => Err(PlaceError::NotText(path.display().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_files_is_a_path_of_the_host() {
        for (path, host) in [
            ("/files/home/ana/project", Some("/home/ana/project")),
            ("/workspace", Some("")),
            ("/filesystem", Some("")),
            ("/files", None),
        ] {
            assert_eq!(on_host(Path::new(path)).ok().as_deref(), host, "{path}");
        }
    }
}
