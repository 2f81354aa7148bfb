//! Files that go into a run, and those that come out of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Component, Path, PathBuf},
};

use rumi_proto::v1::ExecFile;

use crate::{escape, failure::Failure};

/// The code, the files and the input of one run together, in bytes; the broker takes less.
pub(super) const LARGEST_REQUEST: usize = 24 << 20;

/// `NAME=PATH`, or a path whose last part is the name.
pub(super) fn given(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        _ => Err(format!(
            "`{text}` is not NAME=PATH, as in data.csv=/srv/data.csv"
        )),
    }
}

/// `VAR=SECRET`.
pub(super) fn credential(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((variable, secret)) if !variable.is_empty() && !secret.is_empty() => {
            Ok((variable.to_owned(), secret.to_owned()))
        }
        _ => Err(format!(
            "`{text}` is not VAR=SECRET, as in API_KEY=OPENAI_API_KEY; values stay in the store"
        )),
    }
}

/// The text of a grant; empty where none is given.
pub(super) fn grant(path: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = path else {
        return Ok(String::new());
    };
    fs::read_to_string(path).map_err(Failure::files("read", path))
}

/// The code, from wherever it comes.
pub(super) fn code(given: Option<String>, file: Option<&Path>) -> Result<String, Failure> {
    if let Some(code) = given {
        return Ok(code);
    }
    let path = file.unwrap_or(Path::new("-"));
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let limit = u64::try_from(LARGEST_REQUEST).unwrap_or(u64::MAX);
        io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(Failure::files("read", "standard input"))?;
        bytes
    } else {
        bounded(path)?
    };
    String::from_utf8(bytes).map_err(|_| Failure::Usage {
        message: format!(
            "the code in `{}` is not text: it is not UTF-8",
            path.display()
        ),
        hint: "give data as a file of the run: --file NAME=PATH".to_owned(),
    })
}

pub(super) fn read(named: &[(String, PathBuf)]) -> Result<Vec<ExecFile>, Failure> {
    let one = |(name, path): &(String, PathBuf)| {
        Ok(ExecFile {
            name: name.clone(),
            content: bounded(path)?.into(),
        })
    };
    named.iter().map(one).collect()
}

pub(super) fn input(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    path.map_or_else(|| Ok(Vec::new()), bounded)
}

/// A file as far as a request could hold it; the broker says how much it takes.
fn bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(LARGEST_REQUEST).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(Failure::files("read", path))?;
    Ok(bytes)
}

/// Writes what came out below a directory. The code chose the names, so that nothing is written through
/// a link or over a file that is there.
pub(super) fn write(out: &Path, files: &[ExecFile]) -> Result<(), Failure> {
    fs::create_dir_all(out).map_err(Failure::files("make", out))?;
    for file in files {
        let relative = Path::new(&file.name);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if file.name.is_empty() || !relative.components().all(plain) {
            return Err(Failure::Failed {
                message: format!("`{}` leads out of the directory", escape::line(&file.name)),
                hint: "packctl and rumi-broker may be of different versions".to_owned(),
            });
        }
        let mut directory = out.to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            directory.push(part);
            make(&directory)?;
        }
        let path = out.join(relative);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut to| to.write_all(&file.content))
            .map_err(Failure::files("write", &path))?;
    }
    Ok(())
}

/// A directory that is one, and no link to one.
fn make(path: &Path) -> Result<(), Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(Failure::files("look at", path))?;
            if found.is_dir() {
                return Ok(());
            }
            Err(Failure::files("make", path)(error))
        }
        made => made.map_err(Failure::files("make", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> [ExecFile; 1] {
        [ExecFile {
            name: name.to_owned(),
            content: b"x".to_vec().into(),
        }]
    }

    #[test]
    fn what_comes_out_stays_in_its_directory_and_replaces_nothing() {
        let base = tempfile::tempdir().unwrap();
        let out = base.path().join("out");
        write(&out, &file("a/b.txt")).unwrap();
        assert_eq!(fs::read(out.join("a/b.txt")).unwrap(), b"x");
        assert!(write(&out, &file("a/b.txt")).is_err());
        for name in ["../x", "/x", "a/../../x", ""] {
            assert!(write(&out, &file(name)).is_err(), "{name}");
        }
        std::os::unix::fs::symlink(base.path(), out.join("link")).unwrap();
        assert!(write(&out, &file("link/x")).is_err());
        std::os::unix::fs::symlink(base.path().join("made"), out.join("dangling")).unwrap();
        assert!(write(&out, &file("dangling")).is_err());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_given_by_name_and_path() {
        let path = PathBuf::from("/srv/a=b");
        assert_eq!(given("x.csv=/srv/a=b"), Ok(("x.csv".to_owned(), path)));
        for text in ["", "x", "=x", "x="] {
            assert!(given(text).is_err(), "{text}");
        }
    }
}
