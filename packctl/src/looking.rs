//! The second half of a decision: what a handler would find, as far as it can be
//! seen from here. A look has no effect and needs no safety against races: nothing
//! is opened for a pack, the answer is only told.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rumi_policy::{
    AbsPath, Cidr, Existing, FileKind, FileRead, FileReadFound, FileWrite, FileWriteAction,
    FileWriteFound, Hello, Host, Network, NetworkFound, Permit, RenameFound, Terminal,
    TerminalFound, Tunnel, TunnelForm, TunnelFound, Usage,
};

/// What was seen, and what could not be.
#[derive(Debug)]
pub(crate) struct Sight<F> {
    pub(crate) found: Option<F>,
    pub(crate) note: Option<String>,
}

impl<F> Sight<F> {
    fn all(found: F) -> Self {
        Self {
            found: Some(found),
            note: None,
        }
    }

    pub(crate) fn nothing(note: impl Into<String>) -> Self {
        Self {
            found: None,
            note: Some(note.into()),
        }
    }
}

impl<F> From<Result<F, Unseen>> for Sight<F> {
    fn from(seen: Result<F, Unseen>) -> Self {
        match seen {
            Ok(found) => Self::all(found),
            Err(Unseen { path, source }) if source.kind() == io::ErrorKind::NotFound => {
                Self::nothing(format!("`{}` does not exist now", path.display()))
            }
            Err(Unseen { path, source }) => Self::nothing(format!(
                "`{}` cannot be looked at: {source}",
                path.display()
            )),
        }
    }
}

/// A path that shows nothing.
#[derive(Debug)]
struct Unseen {
    path: PathBuf,
    source: io::Error,
}

pub(crate) fn file_read(permit: &Permit<FileRead>) -> Sight<FileReadFound> {
    let look = || {
        let asked = permit.ask().path.as_path();
        let real_path = real(asked)?;
        let metadata = fs::metadata(asked).map_err(unseen(asked))?;
        Ok(FileReadFound {
            kind: kind(&metadata),
            size: metadata.size(),
            real_root: real(permit.terms().root().as_path())?,
            real_path,
            links: metadata.nlink(),
        })
    };
    look().into()
}

pub(crate) fn file_write(permit: &Permit<FileWrite>) -> Sight<FileWriteFound> {
    let look = || {
        let ask = permit.ask();
        let root = real(permit.terms().root().as_path())?;
        let (existing, real_path) = place(&ask.path)?;
        let to = match (&ask.action, permit.terms().to()) {
            (FileWriteAction::Rename { to }, Some((to_root, _))) => {
                let (existing, real_path) = place(to)?;
                Some(RenameFound {
                    existing,
                    real_root: real(to_root.as_path())?,
                    real_path,
                })
            }
            _ => None,
        };
        Ok(FileWriteFound {
            existing,
            real_root: root,
            real_path,
            to,
            // What it has made already the broker knows; `packctl quota` shows it.
            usage: Some(Usage::default()),
            missing: 1,
            in_place: false,
        })
    };
    look().into()
}

/// The image decides which file a program's name stands for. Names are taken for
/// files in `/usr/bin`, as they are in the base image.
pub(crate) fn terminal(permit: &Permit<Terminal>) -> Sight<TerminalFound> {
    let look = || {
        let directory = permit.ask().directory().as_path();
        let metadata = fs::metadata(directory).map_err(unseen(directory))?;
        if !metadata.is_dir() {
            return Err(unseen(directory)(io::ErrorKind::NotADirectory.into()));
        }
        let program = permit.ask().program().as_str();
        Ok(TerminalFound {
            program: in_image(program).map_err(unseen(Path::new(program)))?,
            allowed: permit
                .terms()
                .allowed_commands()
                .iter()
                .map(|command| in_image(command.program().as_str()).ok())
                .collect(),
            real_root: real(permit.terms().root().as_path())?,
            real_directory: real(directory)?,
            owner_uid: metadata.uid(),
            owner_gid: metadata.gid(),
        })
    };
    let mut sight: Sight<TerminalFound> = look().into();
    if let Some(found) = &sight.found {
        sight.note = Some(format!(
            "the sandbox image decides whether `{}` is what the command stands for",
            found.program
        ));
    }
    sight
}

/// Names are not resolved: that would tell a name server what is merely asked about.
pub(crate) fn network(permit: &Permit<Network>, exceptions: Vec<Cidr>) -> Sight<NetworkFound> {
    match literal(permit.ask().host(), exceptions) {
        Some(found) => Sight::all(found),
        None => Sight::nothing(unresolved(permit.ask().host())),
    }
}

/// What will be said in a tunnel is not known either; for TLS it must name the host.
pub(crate) fn tunnel(permit: &Permit<Tunnel>, exceptions: Vec<Cidr>) -> Sight<TunnelFound> {
    let host = permit.ask().host();
    let passes = match permit.terms().form() {
        TunnelForm::Tls => format!("only TLS whose hello names `{host}` passes"),
        TunnelForm::Intercepted => {
            format!(
                "only TLS whose hello names `{host}` passes; the broker ends it and decides each request inside"
            )
        }
        TunnelForm::Http => "each request inside is decided on its own".to_owned(),
        TunnelForm::Raw => "anything passes".to_owned(),
    };
    match literal(host, exceptions) {
        Some(network) => Sight {
            found: Some(TunnelFound {
                network,
                hello: Hello::Tls(Some(host.to_string())),
            }),
            note: Some(passes),
        },
        None => Sight::nothing(format!("{passes}; {}", unresolved(host))),
    }
}

fn literal(host: &Host, exceptions: Vec<Cidr>) -> Option<NetworkFound> {
    let address = host.address()?;
    Some(NetworkFound {
        addresses: vec![address],
        own: Vec::new(),
        exceptions,
    })
}

fn unresolved(host: &Host) -> String {
    format!("every address of `{host}` is judged once more when the name is resolved")
}

/// Debian keeps `/bin` and `/sbin` as links into `/usr`.
pub(crate) fn in_image(command: &str) -> io::Result<AbsPath> {
    let path = match command.strip_prefix('/') {
        None => format!("/usr/bin/{command}"),
        Some(rest) if rest.starts_with("bin/") || rest.starts_with("sbin/") => {
            format!("/usr/{rest}")
        }
        Some(_) => command.to_owned(),
    };
    path.parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// What is at a place that may be written, and its parent's real path with the last name.
fn place(path: &AbsPath) -> Result<(Option<Existing>, AbsPath), Unseen> {
    let asked = path.as_path();
    let existing = match fs::symlink_metadata(asked) {
        Ok(metadata) => Some(Existing {
            kind: kind(&metadata),
            size: metadata.size(),
            links: metadata.nlink(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unseen(asked)(error)),
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return real(asked).map(|real| (existing, real));
    };
    let real_path = real(parent.as_path())?
        .join(name)
        .map_err(|error| unseen(asked)(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    Ok((existing, real_path))
}

fn real(path: &Path) -> Result<AbsPath, Unseen> {
    let real = path.canonicalize().map_err(unseen(path))?;
    real.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| unseen(path)(io::Error::other("its real path is no UTF-8")))
}

fn unseen(path: &Path) -> impl FnOnce(io::Error) -> Unseen {
    let path = path.to_owned();
    move |source| Unseen { path, source }
}

fn kind(metadata: &fs::Metadata) -> FileKind {
    let kind = metadata.file_type();
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}
