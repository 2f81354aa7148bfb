//! Where an added tool lies: a directory of packs, changed as a whole or not at all.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rumi_policy::manifest::{ComponentManifest, Manifest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::name::ToolName;
use crate::{context::Context, failure::Failure};

const MANIFEST: &str = "pack.json";

/// A tool's directory, whether it is there or not.
#[derive(Debug)]
pub(super) struct Place {
    packs: PathBuf,
    directory: PathBuf,
    name: ToolName,
}

/// A tool as it lies there.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) name: ToolName,
    pub(super) manifest: Manifest,
    pub(super) tool: ComponentManifest,
    pub(super) code: Vec<u8>,
}

/// What lay there before a change, kept until the change is known to be good.
#[derive(Debug)]
pub(super) struct Before {
    place: PathBuf,
    kept: TempDir,
    replaced: bool,
}

/// All tools that were added, by name.
pub(super) fn all(context: &Context) -> Result<Vec<Added>, Failure> {
    let packs = context.packs()?;
    let entries = match fs::read_dir(&packs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::files("read", packs)(error)),
    };
    let mut names: Vec<ToolName> = entries
        .flatten()
        .filter_map(|entry| ToolName::of_pack(entry.file_name().to_str()?))
        .collect();
    names.sort_by(|a, b| a.pack().cmp(b.pack()));
    let mut tools = Vec::new();
    for name in names {
        match Place::new(context, &name)?.read() {
            Ok(tool) => tools.push(tool),
            // A pack of that name which somebody made by hand is none of these.
            Err(failure) => context
                .console
                .warning(&format!("`{}` is passed over: {failure}", name.pack())),
        }
    }
    Ok(tools)
}

impl Place {
    pub(super) fn new(context: &Context, name: &ToolName) -> Result<Self, Failure> {
        let packs = context.packs()?;
        Ok(Self {
            directory: packs.join(name.pack().as_str()),
            packs,
            name: name.clone(),
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.directory.symlink_metadata().is_ok()
    }

    /// Reads the tool; a directory with anything else in it is none that was added.
    pub(super) fn read(&self) -> Result<Added, Failure> {
        if !self.exists() {
            return Err(Failure::NotFound {
                message: format!("there is no tool `{}`", self.name),
                hint: "`packctl tool ls` lists those that were added".to_owned(),
            });
        }
        let strange = |why: String| Failure::Failed {
            message: format!(
                "`{}` is not as `packctl tool add` wrote it: {why}",
                self.directory.display()
            ),
            hint: format!(
                "treat it as the pack `{}`, or remove the directory by hand",
                self.name.pack()
            ),
        };
        let read = |file: &str| {
            let path = self.directory.join(file);
            fs::read(&path).map_err(Failure::files("read", path))
        };
        let manifest = Manifest::parse(&read(MANIFEST)?).map_err(|e| strange(e.to_string()))?;
        let tool = match manifest.components.as_slice() {
            [tool] if tool.id == *self.name.component() => tool.clone(),
            _ => return Err(strange("its components are others".to_owned())),
        };
        let entries = fs::read_dir(&self.directory);
        let entries = entries.map_err(Failure::files("read", &self.directory))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name != MANIFEST && name != tool.entry.as_str() {
                return Err(strange(format!("it holds `{}`", name.to_string_lossy())));
            }
        }
        Ok(Added {
            name: self.name.clone(),
            code: read(tool.entry.as_str())?,
            manifest,
            tool,
        })
    }

    /// Puts these files there in one step, and keeps what they replace.
    pub(super) fn put(
        &self,
        manifest: &str,
        entry: &str,
        code: &[u8],
        replace: bool,
    ) -> Result<Before, Failure> {
        let failed = Failure::files("write", &self.directory);
        fs::create_dir_all(&self.packs).map_err(Failure::files("create", &self.packs))?;
        let fresh = tempfile::Builder::new()
            .prefix(".packctl-")
            .tempdir_in(&self.packs)
            .map_err(Failure::files("write into", &self.packs))?;
        let swap = || {
            fs::write(fresh.path().join(MANIFEST), manifest)?;
            fs::write(fresh.path().join(entry), code)?;
            // Temporary directories are private; packs are read by whoever builds them.
            fs::set_permissions(fresh.path(), Permissions::from_mode(0o755))?;
            let how = if replace {
                RenameFlags::EXCHANGE
            } else {
                RenameFlags::NOREPLACE
            };
            renameat_with(CWD, fresh.path(), CWD, &self.directory, how).map_err(io::Error::from)
        };
        swap().map_err(failed)?;
        Ok(Before {
            place: self.directory.clone(),
            kept: fresh,
            replaced: replace,
        })
    }

    /// Takes the directory away in one step.
    pub(super) fn take(&self) -> Result<Before, Failure> {
        let kept = tempfile::Builder::new()
            .prefix(".packctl-")
            .tempdir_in(&self.packs)
            .map_err(Failure::files("write into", &self.packs))?;
        fs::rename(&self.directory, kept.path())
            .map_err(Failure::files("remove", &self.directory))?;
        Ok(Before {
            place: self.directory.clone(),
            kept,
            replaced: true,
        })
    }
}

impl Before {
    /// Makes the directory what it was before.
    pub(super) fn put_back(self) -> Result<(), Failure> {
        let failed = Failure::files("put back", &self.place);
        let back = if self.place.symlink_metadata().is_err() {
            fs::rename(self.kept.path(), &self.place)
        } else if self.replaced {
            let (kept, place) = (self.kept.path(), &self.place);
            renameat_with(CWD, kept, CWD, place, RenameFlags::EXCHANGE).map_err(io::Error::from)
        } else {
            fs::remove_dir_all(&self.place)
        };
        back.map_err(failed)
    }
}

/// The bytes of a tool's file as text, with what is no UTF-8 replaced.
pub(super) fn text(code: &[u8]) -> String {
    String::from_utf8_lossy(code).into_owned()
}

/// Reads code from a file, standard input, or the command line itself.
pub(super) fn code(file: Option<&str>, given: Option<&str>) -> Result<Vec<u8>, Failure> {
    match (file, given) {
        (_, Some(text)) => Ok(text.as_bytes().to_owned()),
        (Some("-"), None) => {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::stdin(), &mut bytes)
                .map_err(Failure::files("read", "standard input"))?;
            Ok(bytes)
        }
        (Some(file), None) => {
            let path = Path::new(file);
            fs::read(path).map_err(Failure::files("read", path))
        }
        (None, None) => Err(Failure::Usage {
            message: "there is no code".to_owned(),
            hint: "name a file, - for standard input, or give it with -c".to_owned(),
        }),
    }
}
