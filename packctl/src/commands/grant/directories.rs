//! What a person may have overlooked about the directories of a grant.

use std::{fs, path::Path};

use rumi_policy::manifest::Manifest;
use rumi_policy::{ComponentId, HandlerName};

use crate::{console::Console, context::Context, failure::Failure};

/// One remark about a directory that is valid and still may not do what was meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// Looks at a directory as it is on this host now.
pub(crate) fn remark(directory: &str) -> Option<Remark> {
    let path = Path::new(directory);
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(Remark {
                message: format!("directory `{directory}` does not exist"),
                remedy: "create it, or mend the grant; until then every request below it fails"
                    .to_owned(),
            });
        }
        Err(error) => {
            return Some(Remark {
                message: format!("directory `{directory}` cannot be looked at: {error}"),
                remedy: "run packctl as root to check it".to_owned(),
            });
        }
    };
    if !fs::metadata(&real).is_ok_and(|metadata| metadata.is_dir()) {
        return Some(Remark {
            message: format!("`{directory}` is not a directory"),
            remedy: "grant it by itself with `--file`, or the directory that holds it".to_owned(),
        });
    }
    (real != path).then(|| Remark {
        message: format!(
            "directory `{directory}` goes through a symlink; its real path is `{}`",
            real.display()
        ),
        remedy:
            "grant the real path, so that whoever may change the link cannot change what is granted"
                .to_owned(),
    })
}

/// Looks at a file that is granted by itself; it need not be there yet, but its directory must.
pub(crate) fn file_remark(file: &str) -> Option<Remark> {
    let path = Path::new(file);
    let parent = path.parent()?;
    let Ok(real) = parent.canonicalize() else {
        return Some(Remark {
            message: format!("the directory of `{file}` does not exist"),
            remedy: "create it, or mend the grant; until then every request for the file fails"
                .to_owned(),
        });
    };
    if real != parent {
        return Some(Remark {
            message: format!("`{file}` goes through a symlink to `{}`", real.display()),
            remedy: "grant the file by its real path".to_owned(),
        });
    }
    let kind = fs::symlink_metadata(path).ok()?.file_type();
    if kind.is_symlink() {
        return Some(Remark {
            message: format!("`{file}` is a symlink, which is not followed"),
            remedy: "grant the file that it leads to".to_owned(),
        });
    }
    kind.is_dir().then(|| Remark {
        message: format!(
            "`{file}` is a directory, of which `files` grants the name and not what lies in it"
        ),
        remedy: "list it in `directories` if its files are meant".to_owned(),
    })
}

/// Says what is odd about the files.
pub(crate) fn warn_of_files(console: Console, files: &[String]) {
    for remark in files.iter().filter_map(|file| file_remark(file)) {
        console.warning(&remark.message);
        console.hint(&remark.remedy);
    }
}

/// Says what is odd about the directories.
pub(crate) fn warn(console: Console, directories: &[String]) {
    for remark in directories.iter().filter_map(|directory| remark(directory)) {
        console.warning(&remark.message);
        console.hint(&remark.remedy);
    }
}

/// Why no installed pack has this component, if so.
///
/// # Errors
/// When the home directory is none.
pub(crate) fn unknown(
    context: &Context,
    component: &ComponentId,
) -> Result<Option<Remark>, Failure> {
    let pack = component.pack();
    if let Some(handler) = HandlerName::of_pack(&pack) {
        return super::handlers::no_component(context, component, &handler);
    }
    let path = context.packs()?.join(pack.as_str()).join("pack.json");
    let Ok(bytes) = fs::read(&path) else {
        return Ok(Some(Remark {
            message: format!("there is no pack `{pack}` (`{}`)", path.display()),
            remedy: format!("`packctl init {pack}` writes one; the grant waits until then"),
        }));
    };
    // A manifest that does not parse is for `build` and `doctor` to report.
    let Ok(manifest) = Manifest::parse(&bytes) else {
        return Ok(None);
    };
    if manifest
        .components
        .iter()
        .any(|known| known.id == *component)
    {
        return Ok(None);
    }
    let known: Vec<_> = manifest
        .components
        .iter()
        .map(|known| format!("`{}`", known.id))
        .collect();
    Ok(Some(Remark {
        message: format!("pack `{pack}` has no component `{component}`"),
        remedy: format!("its components are {}", known.join(", ")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        fs::create_dir(real.join("dir")).unwrap();
        fs::write(real.join("file"), "").unwrap();
        std::os::unix::fs::symlink("dir", real.join("link")).unwrap();
        assert_eq!(remark(&text(&real.join("dir"))), None);
        for (name, part) in [
            ("missing", "does not exist"),
            ("file", "is not a directory"),
            ("link", "goes through a symlink"),
        ] {
            let remark = remark(&text(&real.join(name))).unwrap();
            assert!(remark.message.contains(part), "{name}: {}", remark.message);
        }
        assert!(
            remark(&text(&real.join("link")))
                .unwrap()
                .message
                .contains(&text(&real.join("dir")))
        );
    }
}
